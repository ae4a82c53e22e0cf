"""Multiplication by a constant of few bits."""

import functools
import operator

from amaranth import *

__all__ = ["times"]


def times(value: Value, factor: int) -> Value:
    """Return `value * factor`, by additions in place of a multiplier."""
    shifts = [n for n in range(factor.bit_length()) if factor >> n & 1]
    return functools.reduce(operator.add, (value << n for n in reversed(shifts)))
