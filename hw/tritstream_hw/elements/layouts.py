"""Layouts of the serial element path: what goes from block to block, one element per cycle."""

from amaranth import *
from amaranth.lib import data, stream

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.image.tape import WIDE_BYTES
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["ELEMENT", "ELEMENTS", "RESULT", "SCALE", "SCALES", "flow", "sum_layout"]

SCALE = data.StructLayout({"mantissa": FORMATS.mantissa_bits, "shift": FORMATS.shift_bits})
"""Multiplier of the dequantiser, `mantissa * 2**(10 - shift)`."""

SCALES = data.ArrayLayout(SCALE, VECTORS)
"""Those of a stage, by projection."""

ELEMENTS = data.StructLayout({
    "embed":      1,        # elements are those of an embedding row, and x becomes them
    "mixes":      1,        # projections are joined to z; else one is added to x
    "glu":        1,        # they are joined as a gated channel mixer, else as MLGRU
    "fresh":      1,        # the recurrent state counts as 0
    "fraction0":  8,        # fraction bits of i, a and h
    "fraction1":  8,        # those of f
    "state_base": 32,       # first element of the layer's recurrent state
})
"""What becomes of the row sums of a stage."""

_TAG = {"row": 16, "last": 1}       # `last`: the last element of a stage's output vector

ELEMENT = data.StructLayout({"value": signed(FORMATS.vector_bits), "projection": 2, **_TAG})
"""A dequantised row sum."""

RESULT = data.StructLayout({"value": signed(FORMATS.vector_bits),
                            "first": signed(FORMATS.vector_bits), **_TAG})
"""An element of a stage's output vector; `first` is what the first of two stacked norms sees."""


def sum_layout(config: BuildConfig) -> data.StructLayout:
    """Layout of a row sum, or of an element of an embedding row."""
    acc = signed(max(config.acc_bits, 8 * WIDE_BYTES))
    return data.StructLayout({"acc": acc, "projection": 2, **_TAG})


def flow(shape) -> stream.Signature:
    """Signature of a stream that nothing stalls."""
    return stream.Signature(shape, always_ready=True)
