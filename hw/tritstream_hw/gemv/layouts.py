"""Layout of what a product gives: row sums, one per cycle."""

from amaranth import *
from amaranth.lib import data

from tritstream.image.tape import WIDE_BYTES

__all__ = ["PLACE", "sum_layout"]

PLACE = {"row": 16, "last": 1}
"""Fields that say where an element belongs; `last` is the last of a stage's output vector."""


def sum_layout(acc_bits: int) -> data.StructLayout:
    """Layout of a row sum of `acc_bits` bits, or of an element of an embedding row."""
    acc = signed(max(acc_bits, 8 * WIDE_BYTES))
    return data.StructLayout({"acc": acc, "projection": 2, **PLACE})
