"""cocotb benches, one per block. Imported by the simulator, never by pytest."""
