"""Statistics of a vector, gathered while it is written: what its norms and quantisers need."""

import functools
import operator

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.golden.scalars import NORM_BITS
from tritstream_hw.elements.layouts import flow, results_layout
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.norm.row_statistics import (
    AMAX_BITS,
    GAINS,
    RowStatistics,
    SharedRowStatistics,
)
from tritstream_hw.stream.delay import delay

__all__ = ["Statistics", "StatisticsSignature"]


class StatisticsSignature(wiring.Signature):
    """Statistics of vectors, as the one who gathers them has them.

    Parameters
    ----------
    lanes : int
        `T`, tokens.

    Members
    -------
    s1, s2 : :py:`Out(data.ArrayLayout(80, T))`
        Sum of the squares of `first`, and of elements times first gain.
    amax : :py:`Out(data.ArrayLayout(data.ArrayLayout(47, 3), T))`
        Largest |element * gain| for each of the gains.
    """

    def __init__(self, lanes: int = 1):
        super().__init__({
            "s1":   Out(data.ArrayLayout(NORM_BITS, lanes)),
            "s2":   Out(data.ArrayLayout(NORM_BITS, lanes)),
            "amax": Out(data.ArrayLayout(data.ArrayLayout(AMAX_BITS, VECTORS), lanes)),
        })


class Statistics(wiring.Component):
    """Sums of squares and absolute maxima of vectors, see `golden.quantise.statistics`.

    Takes a word of elements per cycle, or one of several cycles, with any gaps, each of any of `T`
    tokens; the results include it :py:`latency` cycles later. They are right for vectors in which
    no product of element and gain reaches :py:`2 ** 47` and no product of element and first gain,
    shifted, leaves 32 bits, which `pack` guarantees.

    Parameters
    ----------
    element_width : int
        `E`.
    element_cycles : int
        Cycles from a word to the next, at least: 1, or 4, in which a row needs a quarter of the
        multipliers.
    lanes : int
        `T`.

    Members
    -------
    i : :py:`In(flow(results_layout(E, T)))`
        Elements.
    clear : :py:`In(1)`
        Forget all elements taken before this cycle; those taken in it count.
    use_pre : :py:`In(1)`
        There is a first gain; else `s2` is of the elements themselves. Stable from the first
        element until `done`.
    gains : :py:`In(data.ArrayLayout(GAINS, E))`
        Gains of a word's rows, a cycle after the word.
    o : :py:`Out(StatisticsSignature(T))`
        Results. With four cycles for a word, they are in each other's place while it passes.
    done : :py:`Out(1)`
        Strobe in the first cycle in which the results but `s2` include the element marked `last`;
        `s2` does :py:`s2_delay` cycles later. They stay until `clear`.
    """

    def __init__(self, *, element_width: int, element_cycles: int = 1, lanes: int = 1):
        self._levels = exact_log2(element_width)
        self._element_cycles = element_cycles
        super().__init__({
            "i":         In(flow(results_layout(element_width, lanes))),
            "clear":     In(1),
            "use_pre":   In(1),
            "gains":     In(data.ArrayLayout(GAINS, element_width)),
            "o":         Out(StatisticsSignature(lanes)),
            "done":      Out(1),
        })
        row = RowStatistics if element_cycles == 1 else SharedRowStatistics
        self._rows = [row() for _ in range(element_width)]
        # An attribute, so that an assertion can hold it to when `s2` is used.
        self.s2_late = Signal(self.s2_delay)    # the last element's is under way, behind `done`

    @property
    def s2_delay(self) -> int:
        """Cycles by which `s2` is later than all else; what comes in turn is there at once."""
        if self._element_cycles > 1:
            return 0
        row = self._rows[0]
        return row.s2_latency - max(row.s1_latency, *row.amax_latencies)

    @property
    def latency(self) -> int:
        """Cycles from an element to results that include it."""
        return self._rows[0].s2_latency + self._levels + 1

    def elaborate(self, platform):
        m = Module()
        for n, row in enumerate(self._rows):
            m.submodules[f"row{n}"] = row
            m.d.comb += [
                row.i.valid.eq(self.i.valid),
                row.i.p.eq(self.i.p.rows[n]),
                row.use_pre.eq(self.use_pre),
                row.gains.eq(self.gains[n]),
            ]
        # lives[n], lanes[n]: of the elements taken n cycles ago.
        lives, lanes = [Mux(self.i.valid, self.i.p.live, 0)], [self.i.p.lane]
        for n in range(1, self.latency):
            live, lane = Signal(len(self._rows), name=f"live_{n}"), delay(
                m, lanes[-1], 1, name=f"lane_{n}")
            m.d.sync += live.eq(Mux(self.clear, 0, lives[-1]) if n > 1 else lives[-1])
            lives.append(live)
            lanes.append(lane)

        def gathered(name, latencies, join, value):
            """What all rows of a word have, joined; whether there is any, and whose it is."""
            values, behind = [value(row) for row in self._rows], latencies[0] + self._levels
            live = _any(lives[latency] for latency in latencies)
            there = _any(lives[latency + self._levels].any() for latency in latencies)
            return self._joined(m, values, live, join, name), there, lanes[behind]

        self._gather(m, gathered)

        lasts = Signal(self.latency - 1 - self.s2_delay)
        m.d.sync += [
            lasts.eq(Cat(self.i.valid & self.i.p.last, Mux(self.clear, 0, lasts))),
            self.done.eq(lasts[-1] & ~self.clear),
            self.s2_late.eq(Mux(self.clear, 0, Cat(lasts[-1], self.s2_late))),
        ]
        return m

    def _gather(self, m, gathered):
        """Add up and compare what has been gathered."""
        row = self._rows[0]
        if self._element_cycles > 1:
            # What is gathered of a row comes in turn, and so does what it is added or compared to.
            squares, there, _ = gathered("squares", (row.s1_latency, row.s2_latency),
                                         operator.add, lambda row: row.s1)
            self._turn(m, [self.o.s1[0], self.o.s2[0]], operator.add, squares, there)
            size, there, _ = gathered("size", row.amax_latencies, _larger, lambda row: row.amax[0])
            self._turn(m, list(self.o.amax[0]), _larger, size, there)
            return
        for name, latency in (("s1", row.s1_latency), ("s2", row.s2_latency)):
            self._sum(m, getattr(self.o, name), *gathered(
                name, (latency,), operator.add, lambda row, name=name: getattr(row, name)))
        for n in range(VECTORS):
            self._maximum(m, [amax[n] for amax in self.o.amax], *gathered(
                f"amax{n}", (row.amax_latencies[n],), _larger, lambda row, n=n: row.amax[n]))

    def _turn(self, m, results, join, value, there):
        """Join a value to the first of the results, which goes behind the others.

        As many values come of each row as there are results, so that all are in their places again.
        """
        with m.If(self.clear):
            m.d.sync += [result.eq(0) for result in results]
        with m.Elif(there):
            m.d.sync += [result.eq(following) for result, following in zip(
                results, [*results[1:], join(results[0], value)], strict=True)]

    def _joined(self, m, values, live, join, name: str):
        """Join what the rows have that there are, two and two, and a register behind each."""
        if len(values) > 1:
            values = [Mux(there, value, 0) for there, value in zip(live, values, strict=True)]
        while len(values) > 1:
            pairs = list(zip(values[0::2], values[1::2], strict=True))
            values = []
            for n, pair in enumerate(pairs):
                joined = join(*pair)
                register = Signal(joined.shape(), name=f"{name}_{len(pairs)}_{n}", reset_less=True)
                m.d.sync += register.eq(joined)
                values.append(register)
        return values[0]

    def _sum(self, m, totals, squares, there, lane):
        for n, total in enumerate(totals):
            with m.If(self.clear):
                m.d.sync += total.eq(0)
            with m.Elif(there & (lane == n)):
                m.d.sync += total.eq(total + squares)

    def _maximum(self, m, peaks, size, there, lane):
        for n, peak in enumerate(peaks):
            with m.If(self.clear):
                m.d.sync += peak.eq(0)
            with m.Elif(there & (lane == n) & (size > peak)):
                m.d.sync += peak.eq(size)


def _larger(a, b) -> Value:
    return Mux(a > b, a, b)


def _any(values) -> Value:
    return functools.reduce(operator.or_, values)
