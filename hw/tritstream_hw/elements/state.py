"""Memory of the recurrent state, and who uses it when."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from tritstream_hw.elements.ports import state_read_port, state_write_port

__all__ = ["StatePorts"]


class StatePorts(wiring.Component):
    """Memory of the recurrent state. The content survives a reset.

    Parameters
    ----------
    max_state : int
        Elements of the recurrent state.

    Members
    -------
    read : :py:`Out(ReadPort.Signature(...))`, write : :py:`Out(WritePort.Signature(...))`
        The mixer.
    debug_read, debug_write : likewise
        The host, while no pass runs; they go first.
    """

    def __init__(self, *, max_state: int):
        self._max_state = max_state
        super().__init__({
            "read":  Out(state_read_port(max_state)),
            "write": Out(state_write_port(max_state)),
            "debug_read":  Out(state_read_port(max_state)),
            "debug_write": Out(state_write_port(max_state)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.read.data.shape(), depth=self._max_state, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            read.addr.eq(self.read.addr),
            self.read.data.eq(read.data),
            self.debug_read.data.eq(read.data),
            write.en.eq(self.write.en),
            write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
        ]
        with m.If(self.debug_read.en):
            m.d.comb += read.addr.eq(self.debug_read.addr)
        with m.If(self.debug_write.en):
            m.d.comb += [
                write.en.eq(1),
                write.addr.eq(self.debug_write.addr),
                write.data.eq(self.debug_write.data),
            ]
        return m
