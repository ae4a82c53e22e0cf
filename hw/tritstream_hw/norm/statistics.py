"""Statistics of a vector, gathered while it is written: what its norms and quantisers need."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.quantise import PRE_SHIFT
from tritstream.golden.scalars import NORM_BITS
from tritstream_hw.arithmetic.magnitude import magnitude
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import RESULT, flow
from tritstream_hw.elements.ports import row_port
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["AMAX_BITS", "GAINS", "Statistics", "StatisticsSignature"]

AMAX_BITS = FORMATS.product_bits - 1
"""Width of the largest |element * gain|."""

_GAIN = signed(FORMATS.gain_bits)

GAINS = data.StructLayout({"pre": _GAIN, "gain0": _GAIN, "gain1": _GAIN, "gain2": _GAIN})
"""Gains of one element."""


class StatisticsSignature(wiring.Signature):
    """Statistics of a vector, as the one who gathers them has them.

    Members
    -------
    s1, s2 : :py:`Out(80)`
        Sum of the squares of `first`, and of elements times first gain.
    amax : :py:`Out(data.ArrayLayout(47, 3))`
        Largest |element * gain| for each of the gains.
    """

    def __init__(self):
        super().__init__({
            "s1":   Out(NORM_BITS),
            "s2":   Out(NORM_BITS),
            "amax": Out(data.ArrayLayout(AMAX_BITS, VECTORS)),
        })


class Statistics(wiring.Component):
    """Sums of squares and absolute maxima of a vector, see `golden.quantise.statistics`.

    Takes an element per cycle, with any gaps; the results include it :py:`latency` cycles later.
    They are right for vectors in which no product of element and gain reaches :py:`2 ** 47` and
    no product of element and first gain, shifted, leaves 32 bits, which `pack` guarantees.

    Members
    -------
    i : :py:`In(flow(RESULT))`
        Elements.
    clear : :py:`In(1)`
        Forget all elements taken before this cycle; one taken in it counts.
    use_pre : :py:`In(1)`
        There is a first gain; else `s2` is of the elements themselves. Stable from the first
        element until `done`.
    gains : :py:`In(ReadPort.Signature(addr_width=16, shape=GAINS))`
        Gains of a row.
    o : :py:`Out(StatisticsSignature())`
        Results.
    done : :py:`Out(1)`
        Strobe in the first cycle in which the results include the element marked `last`. They stay
        until `clear`.
    """

    def __init__(self):
        super().__init__({
            "i":         In(flow(RESULT)),
            "clear":     In(1),
            "use_pre":   In(1),
            "gains":     In(row_port(GAINS)),
            "o":         Out(StatisticsSignature()),
            "done":      Out(1),
        })
        element = signed(FORMATS.vector_bits)
        # The first gain has a bit more, for a factor of exactly one.
        self._pre = Multiplier(element, signed(FORMATS.gain_bits + 1))
        self._gains = [Multiplier(element, signed(FORMATS.gain_bits)) for _ in range(VECTORS)]
        self._square1, self._square2 = Multiplier(element, element), Multiplier(element, element)

    @property
    def _inner_stage(self) -> int:
        """Cycles from an element to its product with the first gain, rounded."""
        return 1 + self._pre.latency + 1

    @property
    def latency(self) -> int:
        """Cycles from an element to results that include it."""
        return self._inner_stage + self._square2.latency + 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.pre, m.submodules.square1 = self._pre, self._square1
        m.submodules.square2 = self._square2

        # valids[n] and lasts[n]: of the element taken n + 1 cycles ago.
        valids, lasts = Signal(self.latency - 1), Signal(self.latency - 1)
        m.d.sync += [
            valids.eq(Cat(self.i.valid, Mux(self.clear, 0, valids))),
            lasts.eq(Cat(self.i.valid & self.i.p.last, Mux(self.clear, 0, lasts))),
            self.done.eq(lasts[-1] & ~self.clear),
        ]

        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        first = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [value.eq(self.i.p.value), first.eq(self.i.p.first)]
        m.d.comb += [self.gains.en.eq(self.i.valid), self.gains.addr.eq(self.i.p.row)]

        inner = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += inner.eq((self._pre.o + (1 << PRE_SHIFT - 1)) >> PRE_SHIFT)
        m.d.comb += [
            self._pre.a.eq(value),
            self._pre.b.eq(Mux(self.use_pre, self.gains.data.pre, 1 << PRE_SHIFT)),
            self._square1.a.eq(first), self._square1.b.eq(first),
            self._square2.a.eq(inner), self._square2.b.eq(inner),
        ]
        self._sum(m, self.o.s1, self._square1, valids[self._square1.latency])
        self._sum(m, self.o.s2, self._square2, valids[-1])

        for index, multiplier in enumerate(self._gains):
            m.submodules[f"gain{index}"] = multiplier
            m.d.comb += [multiplier.a.eq(value), multiplier.b.eq(self.gains.data[f"gain{index}"])]
            self._maximum(m, self.o.amax[index], multiplier, valids[1 + multiplier.latency])
        return m

    def _sum(self, m, total, square, valid):
        with m.If(self.clear):
            m.d.sync += total.eq(0)
        with m.Elif(valid):
            m.d.sync += total.eq(total + square.o.as_unsigned())

    def _maximum(self, m, peak, multiplier, valid):
        size = Signal(AMAX_BITS, name="size", reset_less=True)
        m.d.sync += size.eq(magnitude(multiplier.o))
        with m.If(self.clear):
            m.d.sync += peak.eq(0)
        with m.Elif(valid & (size > peak)):
            m.d.sync += peak.eq(size)
