"""The debug port: the host's way into the memories of an idle accelerator."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Space
from tritstream_hw.elements.space import SpaceSignature
from tritstream_hw.ports import DebugSignature

__all__ = ["DebugPort"]


class DebugPort(wiring.Component):
    """Leads the accesses of the host to the memory of their space.

    A word read is there two cycles after the strobe: the memories are far apart.

    Members
    -------
    host : :py:`In(DebugSignature())`
        Accesses.
    idle : :py:`In(1)`
        No pass runs; else nothing is written, and what is read is arbitrary.
    vectors, state, records : :py:`Out(SpaceSignature())`
        The memories.
    """

    host: In(DebugSignature())
    idle: In(1)
    vectors: Out(SpaceSignature())
    state: Out(SpaceSignature())
    records: Out(SpaceSignature())

    def elaborate(self, platform):
        m = Module()
        host, read = self.host, Signal(2)
        m.d.sync += [read.eq(Cat(host.read, read)), host.data_valid.eq(read[-1])]
        spaces = {Space.VECTORS: self.vectors, Space.STATE: self.state, Space.RECORDS: self.records}
        for space, port in spaces.items():
            word = Signal.like(port.data, name=f"{space.name.lower()}_word")
            m.d.sync += word.eq(port.data)
            m.d.comb += [
                port.open.eq(self.idle),
                port.address.eq(host.address),
                port.write.eq(self.idle & host.write & (host.space == space)),
                port.write_data.eq(host.write_data),
            ]
            with m.If(host.space == space):
                m.d.sync += host.data.eq(word)
        return m
