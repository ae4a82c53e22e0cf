"""Frames: a reliable byte stream in each direction, see `docs/link.md`."""

from tritstream_hw.link.link import COUNTERS, Link

__all__ = ["COUNTERS", "Link"]
