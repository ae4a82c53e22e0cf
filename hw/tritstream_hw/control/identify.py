"""IDENTIFY: what was built."""

from amaranth import *
from amaranth.lib import wiring

from tritstream.link.messages import Identity
from tritstream.link.protocol import Code
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import Reply

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
        reply = Reply(m, self.reply, longest=len(self._message))
        with m.If(self.command.valid):
            m.d.comb += self.command.ready.eq(reply.send(*(C(byte, 8) for byte in self._message)))
        return m
