"""Bytes to beats."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """Assembles bytes into words of several, the first byte in the lowest bits.

    Throughput is one byte per cycle; a word is there a cycle after its last byte. While it waits,
    no byte is taken.

    Parameters
    ----------
    size : int
        Bytes of a word, a power of two.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes.
    o : :py:`Out(stream.Signature(data.ArrayLayout(8, size)))`
        Words.
    """

    def __init__(self, size: int):
        self._size = size
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(data.ArrayLayout(8, size))),
        })

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(max(2, self._size)))
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.o.payload.eq(Cat(self.o.payload.as_value(), self.i.payload)[8:])
            m.d.sync += count.eq(count + 1)
            with m.If(count == self._size - 1):
                m.d.sync += [count.eq(0), self.o.valid.eq(1)]
        return m
