"""Benches of `tritstream_hw.memory`."""
