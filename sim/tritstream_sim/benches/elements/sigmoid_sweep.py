"""Every argument of the sigmoid, one per cycle, without a bench that writes each."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.elements.sigmoid import FRACTION_BITS, Sigmoid

__all__ = ["SigmoidSweep"]


class SigmoidSweep(wiring.Component):
    """Digest of the sigmoids of all 18-bit numbers, from 0 up and then from the lowest up.

    Members
    -------
    start : :py:`In(1)`
        Begin; ignored while one is under way.
    fraction : :py:`In(5)`, negate : :py:`In(1)`
        As for :class:`tritstream_hw.elements.sigmoid.Sigmoid`; stable while one is under way.
    busy : :py:`Out(1)`
        One is under way.
    digest : :py:`Out(32)`
        CRC-32 of all results as 32-bit words.
    """

    start: In(1)
    fraction: In(FRACTION_BITS)
    negate: In(1)
    busy: Out(1)
    digest: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.sigmoid = sigmoid = Sigmoid()
        m.submodules.digest = digest = Crc32(data_bits=32)

        count = 1 << FORMATS.element_bits
        position = Signal(range(count + sigmoid.latency + 2))
        m.d.comb += [
            sigmoid.x.eq(position),
            sigmoid.fraction.eq(self.fraction),
            sigmoid.negate.eq(self.negate),
            digest.data.eq(sigmoid.o),
            digest.clear.eq(self.start & ~self.busy),
            digest.valid.eq(self.busy & (position >= sigmoid.latency)),
            self.digest.eq(digest.value),
        ]
        with m.If(~self.busy):
            m.d.sync += [position.eq(0), self.busy.eq(self.start)]
        with m.Else():
            m.d.sync += [position.eq(position + 1),
                         self.busy.eq(position != count + sigmoid.latency - 1)]
        return m
