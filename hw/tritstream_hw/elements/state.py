"""Memory of the recurrent state, and who uses it when."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.elements.ports import state_read_port, state_write_port
from tritstream_hw.elements.space import SpaceSignature

__all__ = ["StatePorts"]


class StatePorts(wiring.Component):
    """:py:`config.max_state` elements of recurrent state. The content survives a reset.

    Members
    -------
    read : :py:`Out(ReadPort.Signature(...))`, write : :py:`Out(WritePort.Signature(...))`
        The mixer.
    debug : :py:`In(SpaceSignature())`
        The host, while no pass runs.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({
            "read":  Out(state_read_port(config)),
            "write": Out(state_write_port(config)),
            "debug": In(SpaceSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.read.data.shape(), depth=self._config.max_state, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            read.addr.eq(self.read.addr),
            self.read.data.eq(read.data),
            self.debug.data.eq(read.data),
            write.en.eq(self.write.en),
            write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
        ]
        with m.If(self.debug.open):
            m.d.comb += [
                read.addr.eq(self.debug.address),
                write.en.eq(self.debug.write),
                write.addr.eq(self.debug.address),
                write.data.eq(self.debug.write_data),
            ]
        return m
