"""Reader of a memory: addresses in, words out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import ReadPort
from amaranth.lib.wiring import In, Out

__all__ = ["Reader"]


class Reader(wiring.Component):
    """Makes a stream of what a memory port answers a cycle after it was asked.

    The memory's own output register is the only place: while a word waits there, nothing is read.
    An address is taken while no word waits, or in the cycle in which one is taken. Throughput is
    one word per cycle, latency one cycle.

    Parameters
    ----------
    addr_width : int
        Bits of an address.
    shape : ShapeLike
        Of a word.

    Members
    -------
    i : :py:`In(stream.Signature(addr_width))`
        Addresses.
    memory : :py:`In(ReadPort.Signature(addr_width=addr_width, shape=shape))`
        The memory's port. Its data may change only after a cycle in which it is enabled.
    o : :py:`Out(stream.Signature(shape))`
        The words, in order.
    """

    def __init__(self, addr_width: int, shape):
        super().__init__({
            "i":      In(stream.Signature(addr_width)),
            "memory": In(ReadPort.Signature(addr_width=addr_width, shape=shape)),
            "o":      Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.memory.en.eq(self.i.valid & self.i.ready),
            self.memory.addr.eq(self.i.payload),
            self.o.payload.eq(self.memory.data),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        return m
