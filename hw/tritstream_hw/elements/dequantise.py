"""Dequantiser: a row sum times the scale of its projection."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.gemv.layouts import sum_shape

__all__ = ["Dequantise"]


class Dequantise(wiring.Component):
    """Scales row sums: :py:`(acc * mantissa << 10) >> shift`, rounded half up; one every cycle.

    Equals `tritstream.golden.elementwise.dequantise` wherever that fits 32 bits.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.

    Members
    -------
    acc : :py:`In(sum_shape(acc_bits))`
        Row sum.
    scale : :py:`In(SCALE)`
        Its mantissa goes with the row sum. Of its shift, the bits from 3 on are taken
        :py:`shift_delay` cycles after that, and the others in the cycle behind.
    o : :py:`Out(signed(32))`
        Element; follows :py:`latency` cycles after the row sum.
    """

    def __init__(self, *, acc_bits: int):
        super().__init__({
            "acc":   In(sum_shape(acc_bits)),
            "scale": In(SCALE),
            "o":     Out(signed(FORMATS.vector_bits)),
        })
        self._multiplier = Multiplier(self.acc.shape(), FORMATS.mantissa_bits)

    @property
    def shift_delay(self) -> int:
        """Cycles from a row sum until its shift is needed."""
        return self._multiplier.latency - 1

    @property
    def latency(self) -> int:
        """Cycles from a row sum to its element."""
        return self._multiplier.latency + 3

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        m.d.comb += [multiplier.a.eq(self.acc), multiplier.b.eq(self.scale.mantissa)]

        # One fraction bit more than the result has decides how that is rounded. What it fits in is
        # known, so the bits that the second step cannot bring into it are dropped after the first.
        kept = FORMATS.vector_bits + 1
        shift = Signal(FORMATS.shift_bits, reset_less=True)
        coarse = Signal(signed(kept + 7), reset_less=True)
        fine = Signal(signed(kept), reset_less=True)
        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [
            shift.eq(self.scale.shift),
            coarse.eq((multiplier.o << FORMATS.dequant_up + 1) >> Cat(C(0, 3), shift[3:])),
            fine.eq(coarse >> shift[:3]),
            value.eq(fine[1:].as_signed() + fine[0]),
        ]
        m.d.comb += self.o.eq(value)
        return m
