"""Benches of `tritstream_hw.norm`."""
