"""Simulation of tritstream: Verilator runner, cocotb benches, formal proofs, simulated board."""
