"""Turns: in which of its cycles a row is that shares something with others."""

from amaranth import *

__all__ = ["turned"]


def turned(turn: Value, cycles: int) -> Value:
    """Return a counter of a power of two of cycles as it was so many cycles ago."""
    return (turn - cycles)[:len(turn)]
