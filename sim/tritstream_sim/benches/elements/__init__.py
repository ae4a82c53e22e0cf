"""Benches of `tritstream_hw.elements`."""
