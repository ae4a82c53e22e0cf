"""Roots of the squared norms of all tokens of a pass, ahead of their use."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tritstream_hw.norm.root import ROOT, SCALAR, NormRoot
from tritstream_hw.norm.statistics import StatisticsSignature

__all__ = ["Roots"]


class Roots(wiring.Component):
    """Norms of tokens, made one after the other by one or a few units, and kept.

    The n-th unit makes those of every :py:`root_units`-th token from the n-th on. They go into a
    small memory in the order of the tokens, so a unit works on the next one while those before are
    still to be used. Of an only token there is nothing to keep: its unit has it.

    Parameters
    ----------
    root_units : int
        How many work side by side: at most `T`.
    lanes : int
        `T`, tokens.

    Members
    -------
    start : :py:`In(1)`
        Strobe: `s1` is there, and `s2` is from `go` on. Not between `go` and the last of the norms.
    last : :py:`In(range(T))`
        The last token that there is. Stable from `start` until the last of the norms is there.
    statistics : :py:`In(StatisticsSignature(T))`
        Their sums are used, likewise.
    go : :py:`In(1)`
        Ratio and floor are there, and have been for a cycle, until all norms are.
    ratio, floor : :py:`In(SCALAR)`
        As those of `NormRoot`.
    lane : :py:`In(range(T))`
        Whose norm is wanted.
    o : :py:`Out(ROOT)`, valid : :py:`Out(1)`
        It, and that it is there, in the same cycle; until the next `start`. At most 63 cycles
        after `go`, and for each :py:`root_units` tokens as many more.
    """

    def __init__(self, *, root_units: int = 1, lanes: int = 1):
        super().__init__({
            "start":      In(1),
            "last":       In(range(lanes)),
            "statistics": In(StatisticsSignature(lanes)),
            "go":         In(1),
            "ratio":      In(SCALAR),
            "floor":      In(SCALAR),
            "lane":       In(range(lanes)),
            "o":          Out(ROOT),
            "valid":      Out(1),
        })
        self._lanes = lanes
        self._units = [NormRoot() for _ in range(root_units)]

    def elaborate(self, platform):
        m = Module()
        for number, unit in enumerate(self._units):
            m.submodules[f"unit{number}"] = unit
            m.d.comb += [unit.go.eq(self.go), unit.ratio.eq(self.ratio), unit.floor.eq(self.floor)]
        if self._lanes == 1:
            [unit] = self._units
            m.d.comb += [
                unit.start.eq(self.start),
                unit.s1.eq(self.statistics.s1[0]),
                unit.s2.eq(self.statistics.s2[0]),
                self.o.eq(unit.o),
                self.valid.eq(unit.valid),
            ]
        else:
            self._keep(m)
        return m

    def _keep(self, m):
        """Collect the norms in the order of the tokens, and let each unit go on."""
        m.submodules.kept = kept = Memory(shape=ROOT, depth=self._lanes, init=[])
        write, read = kept.write_port(), kept.read_port(domain="comb")
        made = Signal(range(self._lanes + 1))       # norms that are in the memory
        turn = Signal(range(len(self._units)))      # whose the next one is
        ends = Signal()
        m.d.comb += [
            write.addr.eq(made),
            read.addr.eq(self.lane),
            self.o.eq(read.data),
            self.valid.eq(self.lane < made),
            ends.eq(turn == len(self._units) - 1),
        ]
        step = len(self._units)
        for number, unit in enumerate(self._units):
            lane = Signal(self.lane.shape(), init=number, name=f"lane_{number}")
            collected, again = (Signal(name=f"{name}_{number}") for name in ("collected", "again"))
            m.d.comb += [
                # One that is begun is made to its end, so none is that no token has.
                unit.start.eq((self.start & (self.last >= number if number else 1)) | again),
                unit.s1.eq(self.statistics.s1[lane]),
                unit.s2.eq(self.statistics.s2[lane]),
                collected.eq(unit.valid & ~again & (turn == number) & (made <= self.last)
                             & self.go),
            ]
            m.d.sync += again.eq(0)
            with m.If(collected):
                m.d.comb += [write.en.eq(1), write.data.eq(unit.o)]
                m.d.sync += [made.eq(made + 1), turn.eq(Mux(ends, 0, turn + 1)),
                             lane.eq(lane + step), again.eq(lane + step <= self.last)]
            with m.If(~self.go):
                m.d.sync += lane.eq(number)
        with m.If(self.start):
            m.d.sync += [made.eq(0), turn.eq(0)]
