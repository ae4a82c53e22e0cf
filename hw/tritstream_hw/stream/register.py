"""One place that cuts a stream's path forward."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Register"]


class Register(wiring.Component):
    """One place between a source and a sink; nothing passes through in the same cycle.

    `ready` does pass through: the place takes a payload while it is empty, or in the cycle in which
    it is emptied. An empty place keeps the payload that it had. Throughput is one payload per
    cycle, latency one cycle.

    Members
    -------
    i, o : :py:`In(stream.Signature(shape))`, :py:`Out(stream.Signature(shape))`
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.o.payload.eq(self.i.payload)
        return m
