"""Frames: a reliable byte stream in each direction, see `docs/link.md`."""

from .link import COUNTERS, Link

__all__ = ["COUNTERS", "Link"]
