"""Layouts of what a product gives: words of rows, each row with the sums of its projections."""

from amaranth import *
from amaranth.lib import data

from tritstream.image.tape import WIDE_BYTES
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["rows_layout", "sum_shape", "sums_layout"]


def rows_layout(shape, element_width: int) -> data.StructLayout:
    """Layout of a word of `E` neighbouring rows.

    `live` says which of them there are, and `last` that the last row of the stage's output vector
    is among them.
    """
    return data.StructLayout({
        "rows": data.ArrayLayout(shape, element_width),
        "live": element_width,
        "word": 16,         # number of the first row, divided by E
        "last": 1,
    })


def sum_shape(acc_bits: int) -> Shape:
    """Shape of a row sum of `acc_bits` bits, or of an element of an embedding row."""
    return signed(max(acc_bits, 8 * WIDE_BYTES))


def sums_layout(acc_bits: int, element_width: int) -> data.StructLayout:
    """Layout of a word of rows, each with a sum for every projection."""
    return rows_layout(data.ArrayLayout(sum_shape(acc_bits), VECTORS), element_width)
