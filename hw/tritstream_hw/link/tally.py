"""Counters of rare events, in a small memory."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Tally", "tally_port"]

BITS = 32


def tally_port(kinds: int) -> wiring.Signature:
    """Signature of the port by which the counters of so many kinds of events are read.

    As the port of a memory that is read with a latency of one cycle; where it is not connected,
    nothing is read.
    """
    return wiring.Signature({"en": In(1), "addr": In(ceil_log2(kinds)), "data": Out(BITS)})


class Tally(wiring.Component):
    """Counts events of each kind since power-up, by one adder for all.

    An event waits until it has been counted, which takes two cycles, and two for each that goes
    before it: so long no other of its kind may come. A read goes first.

    Parameters
    ----------
    kinds : int
        Kinds of events.

    Members
    -------
    events : :py:`In(kinds)`
        Strobes.
    read : :py:`Out(tally_port(kinds))`
        The counters. Reads of consecutive cycles hold up the counting.
    """

    def __init__(self, *, kinds: int):
        super().__init__({"events": In(kinds), "read": Out(tally_port(kinds))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=BITS, depth=len(self.events), init=[])
        read, write = memory.read_port(), memory.write_port()

        waiting, first = Signal.like(self.events), Signal.like(self.events)
        kind, counted, counts = Signal.like(read.addr), Signal.like(read.addr), Signal()
        m.d.comb += first.eq(Mux(counts | self.read.en, 0, waiting & -waiting))
        for number, is_first in enumerate(waiting & -waiting):
            with m.If(is_first):
                m.d.comb += kind.eq(number)
        m.d.sync += [
            waiting.eq((waiting & ~first) | self.events),
            counts.eq(first.any()),
            counted.eq(kind),
            Assert(~(waiting & ~first & self.events).any(),
                   "an event comes before the one of its kind before it is counted"),
        ]
        m.d.comb += [
            read.addr.eq(Mux(self.read.en, self.read.addr, kind)),
            self.read.data.eq(read.data),
            write.addr.eq(counted),
            write.data.eq(read.data + 1),
            write.en.eq(counts),
        ]
        return m
