"""Benches of `tritstream_hw.gemv`."""
