"""Digest of what the hardware computes, for comparison with the golden model."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.elements.layouts import RESULT, flow

__all__ = ["Crc32", "VectorDigest"]


class Crc32(wiring.Component):
    """Running CRC-32 over 32-bit words, one per cycle.

    The value is that of `zlib.crc32` over the words taken since the last `clear`, each as four
    bytes, lowest first. It is that of no bytes, 0, after a reset.

    Members
    -------
    data : :py:`In(32)`
        A word.
    valid : :py:`In(1)`
        Take it.
    clear : :py:`In(1)`
        Start again, with `data` as the first word if `valid`.
    value : :py:`Out(32)`
        One cycle later.
    """

    data: In(32)
    valid: In(1)
    clear: In(1)
    value: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=32).create()
        m.d.comb += [
            crc.data.eq(self.data),
            crc.valid.eq(self.valid),
            crc.start.eq(self.clear),
            self.value.eq(crc.crc),
        ]
        return m


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
        m.submodules.crc = crc = Crc32()
        m.d.sync += [
            crc.clear.eq(self.clear),
            crc.valid.eq(self.elements.valid | self.logits.valid),
            crc.data.eq(Mux(self.logits.valid, self.logits.payload, self.elements.p.value)),
        ]
        m.d.comb += self.value.eq(crc.value)
        return m
