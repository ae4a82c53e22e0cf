"""Gateware of tritstream: Amaranth components of the accelerator, and boards."""
