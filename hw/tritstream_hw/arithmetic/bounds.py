"""Whether numbers are within bounds."""

from amaranth import *

__all__ = ["at_most", "beyond"]


def at_most(value: Value, limit: int) -> Value:
    """Whether an unsigned number is at most a constant that is not negative.

    Bit by bit, which synthesis makes a few lookup tables of: for a comparison as Amaranth writes it
    it would take a carry chain of half the bits, and its ends.
    """
    if limit >> len(value):
        return C(1, 1)
    fits = C(1, 1)
    for n, bit in enumerate(value):
        fits = ~bit | fits if limit >> n & 1 else ~bit & fits
    return fits


def beyond(first: Value, count: Value, size: Value) -> Value:
    """Whether some of `count` places from `first` on lie beyond the `size` places that there are.

    All are unsigned. Only the bits that `size` has are added and compared.
    """
    bits = len(size)
    return (first[bits:].any() | count[bits:].any()
            | (first[:bits] + count[:bits] > size))
