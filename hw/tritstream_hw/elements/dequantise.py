"""Dequantiser: row sums times the scale of their projection."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import ELEMENT, SCALE, flow
from tritstream_hw.gemv.layouts import sum_layout
from tritstream_hw.stream.delay import delay

__all__ = ["Dequantise"]


class Dequantise(wiring.Component):
    """Scales row sums: :py:`(acc * mantissa << 10) >> shift`, rounded half up.

    Equals `tritstream.golden.elementwise.dequantise` wherever that fits 32 bits. Throughput is one
    element per cycle, latency :py:`latency` cycles.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.

    Members
    -------
    i : :py:`In(flow(sum_layout(acc_bits)))`
        Row sums.
    scales : :py:`In(data.ArrayLayout(SCALE, 3))`
        Per projection; must not change while elements are under way.
    o : :py:`Out(flow(ELEMENT))`
        Elements.
    """

    def __init__(self, *, acc_bits: int):
        super().__init__({
            "i":      In(flow(sum_layout(acc_bits))),
            "scales": In(data.ArrayLayout(SCALE, 3)),
            "o":      Out(flow(ELEMENT)),
        })
        self._multiplier = Multiplier(self.i.p.acc.shape(), FORMATS.mantissa_bits)

    @property
    def latency(self) -> int:
        """Cycles from a row sum to its element."""
        return self._multiplier.latency + 3

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        projection = self.i.p.projection
        m.d.comb += [
            multiplier.a.eq(self.i.p.acc),
            multiplier.b.eq(self.scales[projection].mantissa),
        ]

        then = delay(m, projection, multiplier.latency - 1, name="projection")
        shift = Signal(FORMATS.shift_bits, reset_less=True)
        m.d.sync += shift.eq(self.scales[then].shift)

        # One fraction bit more than the result has decides how that is rounded. What it fits in is
        # known, so the bits that the second step cannot bring into it are dropped after the first.
        kept = FORMATS.vector_bits + 1
        fine_shift = Signal(3, reset_less=True)
        coarse = Signal(signed(kept + 7), reset_less=True)
        fine = Signal(signed(kept), reset_less=True)
        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [
            fine_shift.eq(shift),
            coarse.eq((multiplier.o << FORMATS.dequant_up + 1) >> Cat(C(0, 3), shift[3:])),
            fine.eq(coarse >> fine_shift),
            value.eq(fine[1:].as_signed() + fine[0]),
        ]
        m.d.comb += [
            self.o.p.value.eq(value),
            self.o.p.projection.eq(delay(m, then, 4, name="then")),
            self.o.p.row.eq(delay(m, self.i.p.row, self.latency, name="row")),
            self.o.p.last.eq(delay(m, self.i.p.last, self.latency, name="last")),
            self.o.valid.eq(delay(m, self.i.valid, self.latency, name="valid", reset_less=False)),
        ]
        return m
