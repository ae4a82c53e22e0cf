"""A DDR3 memory from the host: the registers of its controller."""
