"""Absolute value of a signed number."""

from amaranth import *

__all__ = ["magnitude"]


def magnitude(value: Value) -> Value:
    """Absolute value of a signed `value`, in a bit less: the lowest number wraps to 0.

    One carry chain: negative numbers are inverted, and their sign is added.
    """
    sign = value[-1]
    return ((value[:-1] ^ sign.replicate(len(value) - 1)) + sign)[:len(value) - 1]
