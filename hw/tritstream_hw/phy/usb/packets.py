"""Where the packets of a stream of bytes end that has no ends of its own."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PACKET_BYTE", "PacketEnds"]

PACKET_BYTE = data.StructLayout({"byte": 8, "last": 1})
"""A byte, and whether its packet ends with it."""

SILENT_CYCLES = 16      # what sends a frame pauses for less, and no host asks again so soon


class PacketEnds(wiring.Component):
    """Ends a packet when no byte has followed the one before for a while.

    It holds that byte back until then, or until the next one has come. Throughput is one byte per
    cycle.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes.
    o : :py:`Out(stream.Signature(PACKET_BYTE))`
        The same bytes.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(PACKET_BYTE))})

    def elaborate(self, platform):
        m = Module()
        held, full, ends = Signal(8), Signal(), Signal()
        silent = Signal(range(SILENT_CYCLES))
        m.d.comb += [
            self.o.valid.eq(full & (self.i.valid | ends)),
            self.o.p.byte.eq(held),
            self.o.p.last.eq(ends),
            self.i.ready.eq(~full | (self.o.valid & self.o.ready)),
        ]
        with m.If(full & ~self.i.valid & ~ends):
            m.d.sync += [silent.eq(silent + 1), ends.eq(silent == SILENT_CYCLES - 1)]
        with m.Else():
            m.d.sync += silent.eq(0)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [full.eq(0), ends.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), full.eq(1)]
        return m
