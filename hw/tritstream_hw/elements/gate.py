"""Gated product: SiLU of one operand times the other, whichever comes first."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.elementwise import GATE_SHIFT
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import RESULT, flow
from tritstream_hw.elements.sigmoid import FRACTION_BITS
from tritstream_hw.elements.sigmoid_product import SigmoidProduct
from tritstream_hw.stream.delay import delay

__all__ = ["FACTOR", "PLACES", "Gate"]

PLACES = 16
"""Places in each queue of the mixer: a small table of any FPGA has as many."""

FACTOR = data.StructLayout({"value": signed(FORMATS.element_bits), "row": 16, "last": 1})
"""The other operand, with the tag of the result."""


class Gate(wiring.Component):
    """Product :py:`silu(x * 2**-fraction) * y`, `GATE_SHIFT` fraction bits less, rounded half up.

    Equals `tritstream.golden.elementwise.glu`. The n-th `x` meets the n-th `y`. Throughput is one
    result per cycle. A result follows :py:`latency` cycles after its `x`, or :py:`factor_latency`
    cycles after its `y`, whichever is later. At most 16 of either may wait for the other; that of
    `x` begins to wait only once its SiLU is there.

    Members
    -------
    x : :py:`In(flow(signed(18)))`, fraction : :py:`In(5)`
        What goes through the SiLU.
    y : :py:`In(flow(FACTOR))`
        What it is multiplied with.
    o : :py:`Out(flow(RESULT))`
        Product, and `y` as `first`.
    """

    x: In(flow(signed(FORMATS.element_bits)))
    fraction: In(FRACTION_BITS)
    y: In(flow(FACTOR))
    o: Out(flow(RESULT))

    def __init__(self):
        super().__init__()
        self._silu = SigmoidProduct()
        element = signed(FORMATS.element_bits)
        self._multiplier = Multiplier(element, element)
        # Attributes, because a proof has to count what is under way and what waits.
        self.under_way = Signal(self._silu.latency)
        self.silus = SyncFIFO(width=element.width, depth=PLACES)
        self.factors = SyncFIFO(width=FACTOR.size, depth=PLACES)

    @property
    def factor_latency(self) -> int:
        """Cycles from `y` to the result, if the SiLU was there before."""
        return self._multiplier.latency + 2

    @property
    def latency(self) -> int:
        """Cycles from `x` to the result, if `y` was there before."""
        return self._silu.latency + self.factor_latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.silu = silu = self._silu
        m.submodules.multiplier = multiplier = self._multiplier
        m.submodules.silus = silus = self.silus
        m.submodules.factors = factors = self.factors
        factor = data.View(FACTOR, factors.r_data)

        met = Signal()
        m.d.sync += self.under_way.eq(Cat(self.x.valid, self.under_way))
        m.d.comb += [
            silu.x.eq(self.x.payload),
            silu.factor.eq(self.x.payload),
            silu.fraction.eq(self.fraction),
            silus.w_data.eq(silu.o),
            silus.w_en.eq(self.under_way[-1]),
            factors.w_data.eq(self.y.payload),
            factors.w_en.eq(self.y.valid),
            met.eq(silus.r_rdy & factors.r_rdy),
            silus.r_en.eq(met),
            factors.r_en.eq(met),
            multiplier.a.eq(silus.r_data.as_signed()),
            multiplier.b.eq(factor.value),
        ]

        result = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += result.eq(multiplier.o[GATE_SHIFT:].as_signed() + multiplier.o[GATE_SHIFT - 1])
        cycles = multiplier.latency + 1
        tag = data.View(FACTOR, delay(m, factors.r_data, cycles, name="tag"))
        m.d.comb += [
            self.o.p.value.eq(result),
            self.o.p.first.eq(tag.value),
            self.o.p.row.eq(tag.row),
            self.o.p.last.eq(tag.last),
            self.o.valid.eq(delay(m, met, cycles, name="met", reset_less=False)),
        ]
        return m
