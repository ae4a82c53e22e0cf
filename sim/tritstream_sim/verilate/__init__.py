"""From Amaranth to a Verilated model, and running it."""
