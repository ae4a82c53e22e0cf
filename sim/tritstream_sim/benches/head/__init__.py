"""Benches of `tritstream_hw.head`."""
