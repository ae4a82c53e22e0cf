"""IDENTIFY: what was built."""

from amaranth import *
from amaranth.lib import wiring

from tritstream.link.messages import Identity
from tritstream.link.protocol import Code
from tritstream_hw.control.messages import command_members

__all__ = ["Identify"]


class Identify(wiring.Component):
    """Answers IDENTIFY with constants.

    Parameters
    ----------
    identity : Identity
        What was built.
    """

    def __init__(self, *, identity: Identity):
        if len(identity.build) != 8:
            raise ValueError(f"build must have 8 bytes, not {len(identity.build)}")
        self._message = bytes([Code.IDENTIFY]) + identity.pack()
        super().__init__(command_members(Code.IDENTIFY))

    def elaborate(self, platform):
        m = Module()
        # A number chooses the byte: of constants that takes less than a `Reply`.
        index = Signal(range(len(self._message)))
        ends = index == len(self._message) - 1
        with m.If(self.command.valid):
            m.d.comb += [
                self.reply.valid.eq(1),
                self.reply.payload.eq(Array(self._message)[index]),
                self.command.ready.eq(self.reply.ready & ends),
            ]
            with m.If(self.reply.ready):
                m.d.sync += index.eq(Mux(ends, 0, index + 1))
        return m
