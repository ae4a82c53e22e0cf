"""Residual stream: what a stage adds to it, or the embedding row that it begins with."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.stream.delay import delay

__all__ = ["Residual"]


class Residual(wiring.Component):
    """Adds an element to the residual x; one every cycle.

    A sum has to fit 32 bits, as the golden model asserts.

    Members
    -------
    i : :py:`In(signed(32))`
        What is added.
    embed : :py:`In(1)`
        x begins here: it counts as 0. Must not change while elements are under way.
    x : :py:`In(signed(32))`
        x of the row of `i`, a cycle later.
    o : :py:`Out(signed(32))`
        New x; follows :py:`latency` cycles after `i`.
    """

    latency = 3

    i: In(signed(FORMATS.vector_bits))
    embed: In(1)
    x: In(signed(FORMATS.vector_bits))
    o: Out(signed(FORMATS.vector_bits))

    def elaborate(self, platform):
        m = Module()
        # x comes out of a block RAM and a multiplexer: it is added a cycle later.
        x = Signal.like(self.x, reset_less=True)
        total = Signal.like(self.o, reset_less=True)
        m.d.sync += [x.eq(Mux(self.embed, 0, self.x)),
                     total.eq(delay(m, self.i, 2, name="i") + x)]
        m.d.comb += self.o.eq(total)
        return m
