"""Layouts of the tokens that share a pass, and of what a product gives: words of their rows."""

from amaranth import *
from amaranth.lib import data

from tritstream.image.tape import WIDE_BYTES
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["lanes_layout", "rows_layout", "sum_shape", "sums_layout"]


def lanes_layout(lanes: int, slots: int) -> data.StructLayout:
    """Layout of what is known of the tokens of a pass.

    `last` is the number of the last lane that has a token; those before it have one, too. A token
    that `follows` is the next one of the conversation in the lane before its own: its recurrent
    state is what that one leaves. Both have the same `slot`, where the state lies between passes.
    The state of one that is `fresh` counts as 0. The head's logits are nothing of one that is only
    `body`.
    """
    return data.StructLayout({
        "last":  range(lanes),
        "table": data.ArrayLayout(data.StructLayout({
            "slot":    range(slots),
            "fresh":   1,
            "follows": int(lanes > 1),      # there is no lane before the only one
            "body":    int(lanes > 1),      # whoever wants no head of the only one plays none
        }), lanes),
    })


def rows_layout(shape, element_width: int, lanes: int = 1) -> data.StructLayout:
    """Layout of a word of `E` neighbouring rows of one of `T` tokens.

    `live` says which of them there are, and `last` that the last row of the stage's output vector
    of the last token is among them.
    """
    return data.StructLayout({
        "rows": data.ArrayLayout(shape, element_width),
        "live": element_width,
        "word": 16,         # number of the first row, divided by E
        "lane": range(lanes),
        "last": 1,
    })


def sum_shape(acc_bits: int) -> Shape:
    """Shape of a row sum of `acc_bits` bits, or of an element of an embedding row."""
    return signed(max(acc_bits, 8 * WIDE_BYTES))


def sums_layout(acc_bits: int, element_width: int, lanes: int = 1) -> data.StructLayout:
    """Layout of a word of rows, each with a sum for every projection."""
    return rows_layout(data.ArrayLayout(sum_shape(acc_bits), VECTORS), element_width, lanes)
