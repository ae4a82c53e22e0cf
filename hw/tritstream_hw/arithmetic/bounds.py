"""Whether places that are named are there."""

from amaranth import *

__all__ = ["beyond"]


def beyond(first: Value, count: Value, size: Value) -> Value:
    """Whether some of `count` places from `first` on lie beyond the `size` places that there are.

    All are unsigned. Only the bits that `size` has are added and compared.
    """
    bits = len(size)
    return (first[bits:].any() | count[bits:].any()
            | (first[:bits] + count[:bits] > size))
