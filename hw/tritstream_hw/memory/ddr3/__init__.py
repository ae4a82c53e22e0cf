"""DDR3 SDRAM: what a chip needs, and LiteDRAM's controller behind the memory port."""
