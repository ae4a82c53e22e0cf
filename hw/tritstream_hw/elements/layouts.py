"""Layouts of the element path: what goes from block to block, a word of rows per cycle."""

from amaranth import *
from amaranth.lib import data, stream

from tritstream.formats import FORMATS
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.layouts import rows_layout

__all__ = ["ELEMENTS", "ELEMENT", "RESULT", "SCALE", "SCALES", "flow", "results_layout",
           "scales_layout"]

SCALE = data.StructLayout({"mantissa": FORMATS.mantissa_bits, "shift": FORMATS.shift_bits})
"""Multiplier of the dequantiser, `mantissa * 2**(10 - shift)`."""

SCALES = data.ArrayLayout(SCALE, VECTORS)
"""Those of a stage for one token, by projection."""

ELEMENTS = data.StructLayout({
    "embed":      1,        # elements are those of an embedding row, and x becomes them
    "mixes":      1,        # projections are joined to z; else one is added to x
    "glu":        1,        # they are joined as a gated channel mixer, else as MLGRU
    "fraction0":  8,        # fraction bits of i, a and h
    "fraction1":  8,        # those of f
    "state_base": 32,       # first element of the layer's recurrent state
})
"""What becomes of the row sums of a stage."""

ELEMENT = signed(FORMATS.element_bits)
"""A dequantised row sum that is mixed."""

RESULT = data.StructLayout({"value": signed(FORMATS.vector_bits),
                            "first": signed(FORMATS.vector_bits)})
"""An element of a stage's output vector; `first` is what the first of two stacked norms sees."""


def results_layout(element_width: int, lanes: int = 1) -> data.StructLayout:
    """Layout of a word of elements of a stage's output vector."""
    return rows_layout(RESULT, element_width, lanes)


def scales_layout(lanes: int) -> data.ArrayLayout:
    """Layout of the scales of a stage, by token."""
    return data.ArrayLayout(SCALES, lanes)


def flow(shape) -> stream.Signature:
    """Signature of a stream that nothing stalls."""
    return stream.Signature(shape, always_ready=True)
