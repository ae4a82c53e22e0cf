"""Digest of what the hardware computes, for comparison with the golden model."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.elements.layouts import flow, results_layout
from tritstream_hw.gemv.layouts import rows_layout

__all__ = ["VectorDigest"]


class VectorDigest(wiring.Component):
    """Running CRC-32 over the elements of all stages' vectors, of each token, `E` per cycle.

    Each is a word of 32 bits, also a logit.

    Parameters
    ----------
    element_width : int
        `E`.
    lanes : int
        `T`.

    Members
    -------
    elements : :py:`In(flow(results_layout(E, T)))`
        Elements of a vector.
    logits : :py:`In(flow(rows_layout(signed(32), E, T)))`
        Logits. Not in one cycle with elements.
    body : :py:`In(T)`
        Leave the logits of this token out.
    clear : :py:`In(T)`
        Start again, with what is taken in the same cycle.
    value : :py:`Out(data.ArrayLayout(32, T))`
        Two cycles later.
    """

    def __init__(self, *, element_width: int, lanes: int = 1):
        self._width, self._lanes = element_width, lanes
        super().__init__({
            "elements": In(flow(results_layout(element_width, lanes))),
            "logits":   In(flow(rows_layout(
                signed(FORMATS.vector_bits), element_width, lanes))),
            "body":     In(lanes),
            "clear":    In(lanes),
            "value":    Out(data.ArrayLayout(32, lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32(data_bits=FORMATS.vector_bits, words=self._width,
                                       streams=self._lanes)
        elements, logits = self.elements, self.logits
        counted = Mux(self.body.bit_select(logits.p.lane, 1), 0, logits.p.live)
        live = Mux(logits.valid, counted, elements.p.live)
        m.d.sync += [
            crc.clear.eq(self.clear),
            crc.stream.eq(Mux(logits.valid, logits.p.lane, elements.p.lane)),
            crc.valid.eq(Mux(elements.valid | logits.valid, live, 0)),
            crc.data.eq(Cat(Mux(logits.valid, logit, element.value) for logit, element
                            in zip(logits.p.rows, elements.p.rows, strict=True))),
        ]
        m.d.comb += self.value.eq(crc.value)
        m.d.sync += Assert(~(elements.valid & logits.valid),
                           "an element and a logit in the same cycle")
        return m
