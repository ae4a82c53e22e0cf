"""Devices in Python: an emulator of the link's other end, fakes, the golden board."""
