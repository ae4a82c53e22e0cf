"""Benches of `tritstream_hw.tape`."""
