"""Statistics of a vector, gathered while it is written: what its norms and quantisers need."""

import operator

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS
from tritstream.golden.quantise import PRE_SHIFT
from tritstream.golden.scalars import NORM_BITS
from tritstream_hw.arithmetic.magnitude import magnitude
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import RESULT, flow, results_layout
from tritstream_hw.elements.ports import rows_port
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["AMAX_BITS", "GAINS", "LaneStatistics", "Statistics", "StatisticsSignature"]

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

    Takes a word of elements per cycle, with any gaps; the results include it :py:`latency` cycles
    later. They are right for vectors in which no product of element and gain reaches
    :py:`2 ** 47` and no product of element and first gain, shifted, leaves 32 bits, which `pack`
    guarantees.

    Parameters
    ----------
    element_width : int
        `E`.

    Members
    -------
    i : :py:`In(flow(results_layout(E)))`
        Elements.
    clear : :py:`In(1)`
        Forget all elements taken before this cycle; those taken in it count.
    use_pre : :py:`In(1)`
        There is a first gain; else `s2` is of the elements themselves. Stable from the first
        element until `done`.
    gains : :py:`In(ReadPort.Signature(...))`
        Gains of a word of rows.
    o : :py:`Out(StatisticsSignature())`
        Results.
    done : :py:`Out(1)`
        Strobe in the first cycle in which the results include the element marked `last`. They stay
        until `clear`, and :py:`log2(E)` cycles longer.
    """

    def __init__(self, *, element_width: int):
        self._levels = exact_log2(element_width)
        super().__init__({
            "i":         In(flow(results_layout(element_width))),
            "clear":     In(1),
            "use_pre":   In(1),
            "gains":     In(rows_port(GAINS, element_width)),
            "o":         Out(StatisticsSignature()),
            "done":      Out(1),
        })
        self._lanes = [LaneStatistics() for _ in range(element_width)]

    @property
    def latency(self) -> int:
        """Cycles from an element to results that include it."""
        return self._lanes[0].latency + self._levels

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.gains.en.eq(self.i.valid), self.gains.addr.eq(self.i.p.word)]
        for n, lane in enumerate(self._lanes):
            m.submodules[f"lane{n}"] = lane
            m.d.comb += [
                lane.i.valid.eq(self.i.valid & self.i.p.live[n]),
                lane.i.payload.eq(self.i.p.rows[n]),
                lane.clear.eq(self.clear),
                lane.use_pre.eq(self.use_pre),
                lane.gains.eq(self.gains.data[n]),
            ]
        results = [lane.o for lane in self._lanes]
        for name in ("s1", "s2"):
            m.d.comb += getattr(self.o, name).eq(self._joined(
                m, [getattr(result, name) for result in results], operator.add, name))
        for n, peak in enumerate(self.o.amax):
            m.d.comb += peak.eq(self._joined(
                m, [result.amax[n] for result in results], _larger, f"amax{n}"))

        lasts = Signal(self.latency - 1)
        m.d.sync += [
            lasts.eq(Cat(self.i.valid & self.i.p.last, Mux(self.clear, 0, lasts))),
            self.done.eq(lasts[-1] & ~self.clear),
        ]
        return m

    def _joined(self, m, values, join, name: str):
        """Join what all lanes have, two and two, and a register behind each."""
        while len(values) > 1:
            joined = [Signal.like(values[0], name=f"{name}_{len(values)}_{n}")
                      for n in range(len(values) // 2)]
            m.d.sync += [register.eq(join(*pair)) for register, pair in zip(
                joined, zip(values[0::2], values[1::2], strict=True), strict=True)]
            values = joined
        return values[0]


def _larger(a, b) -> Value:
    return Mux(a > b, a, b)


class LaneStatistics(wiring.Component):
    """Statistics of the elements of one lane, one per cycle.

    Members
    -------
    i : :py:`In(flow(RESULT))`
        Elements.
    clear, use_pre
        As those of `Statistics`.
    gains : :py:`In(GAINS)`
        Gains of an element, a cycle later.
    o : :py:`Out(StatisticsSignature())`
        Results, which include an element :py:`latency` cycles later.
    """

    def __init__(self):
        super().__init__({
            "i":         In(flow(RESULT)),
            "clear":     In(1),
            "use_pre":   In(1),
            "gains":     In(GAINS),
            "o":         Out(StatisticsSignature()),
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

        # valids[n]: of the element taken n + 1 cycles ago.
        valids = Signal(self.latency - 1)
        m.d.sync += valids.eq(Cat(self.i.valid, Mux(self.clear, 0, valids)))

        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        first = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [value.eq(self.i.p.value), first.eq(self.i.p.first)]

        inner = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += inner.eq((self._pre.o + (1 << PRE_SHIFT - 1)) >> PRE_SHIFT)
        m.d.comb += [
            self._pre.a.eq(value),
            self._pre.b.eq(Mux(self.use_pre, self.gains.pre, 1 << PRE_SHIFT)),
            self._square1.a.eq(first), self._square1.b.eq(first),
            self._square2.a.eq(inner), self._square2.b.eq(inner),
        ]
        self._sum(m, self.o.s1, self._square1, valids[self._square1.latency])
        self._sum(m, self.o.s2, self._square2, valids[-1])

        for index, multiplier in enumerate(self._gains):
            m.submodules[f"gain{index}"] = multiplier
            m.d.comb += [multiplier.a.eq(value), multiplier.b.eq(self.gains[f"gain{index}"])]
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
