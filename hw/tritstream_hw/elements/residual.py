"""Residual stream: what a stage adds to it, or the embedding row that it begins with."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.elements.layouts import ELEMENT, RESULT, flow
from tritstream_hw.elements.ports import row_port
from tritstream_hw.stream.delay import delay

__all__ = ["Residual"]


class Residual(wiring.Component):
    """Adds elements to the residual x; throughput one per cycle, latency three cycles.

    A sum has to fit 32 bits, as the golden model asserts.

    Members
    -------
    i : :py:`In(flow(ELEMENT))`
        What is added.
    embed : :py:`In(1)`
        x begins here: it counts as 0.
    x : :py:`In(ReadPort.Signature(addr_width=16, shape=signed(32)))`
        x of the row of `i`.
    o : :py:`Out(flow(RESULT))`
        New x, as `value` and as `first`.
    """

    latency = 3

    i: In(flow(ELEMENT))
    embed: In(1)
    x: In(row_port(signed(FORMATS.vector_bits)))
    o: Out(flow(RESULT))

    def elaborate(self, platform):
        m = Module()

        # x comes out of a block RAM and a multiplexer: it is added a cycle later.
        added = delay(m, self.i.p.value, 2, name="added")
        x = Signal.like(self.x.data, reset_less=True)
        total = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [x.eq(Mux(self.embed, 0, self.x.data)), total.eq(added + x)]
        m.d.comb += [
            self.x.en.eq(self.i.valid & ~self.embed),
            self.x.addr.eq(self.i.p.row),
            self.o.p.value.eq(total),
            self.o.p.first.eq(total),
            self.o.p.row.eq(delay(m, self.i.p.row, self.latency, name="row")),
            self.o.p.last.eq(delay(m, self.i.p.last, self.latency, name="last")),
            self.o.valid.eq(delay(m, self.i.valid, self.latency, name="valid", reset_less=False)),
        ]
        return m
