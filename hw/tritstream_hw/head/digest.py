"""Digest of what the hardware computes, for comparison with the golden model."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.elements.layouts import RESULT, flow

__all__ = ["VectorDigest"]


class VectorDigest(wiring.Component):
    """Running CRC-32 over the elements of all stages' vectors, at most one per cycle.

    Each is a word of 32 bits, also a logit.

    Members
    -------
    elements : :py:`In(flow(RESULT))`, logits : :py:`In(flow(signed(32)))`
        Elements of a vector, or logits. Not both in one cycle.
    clear : :py:`In(1)`
        Start again, with what is taken in the same cycle.
    value : :py:`Out(32)`
        Two cycles later.
    """

    elements: In(flow(RESULT))
    logits: In(flow(signed(FORMATS.vector_bits)))
    clear: In(1)
    value: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32(data_bits=FORMATS.vector_bits)
        m.d.sync += [
            crc.clear.eq(self.clear),
            crc.valid.eq(self.elements.valid | self.logits.valid),
            crc.data.eq(Mux(self.logits.valid, self.logits.payload, self.elements.p.value)),
        ]
        m.d.comb += self.value.eq(crc.value)
        m.d.sync += Assert(~(self.elements.valid & self.logits.valid),
                           "an element and a logit in the same cycle")
        return m
