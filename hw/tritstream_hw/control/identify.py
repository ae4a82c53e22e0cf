"""IDENTIFY: what was built."""

from amaranth import *
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.link.messages import Identity
from tritstream.link.protocol import Code
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import Reply

__all__ = ["Identify"]


class Identify(wiring.Component):
    """Answers IDENTIFY with constants.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What was built.
    build_id : bytes
        Eight bytes that tell builds apart.
    """

    def __init__(self, config: BuildConfig, build_id: bytes):
        if len(build_id) != 8:
            raise ValueError(f"build_id must have 8 bytes, not {len(build_id)}")
        identity = Identity.of(config, build_id)
        self._message = bytes([Code.IDENTIFY]) + identity.pack()
        super().__init__(command_members(Code.IDENTIFY))

    def elaborate(self, platform):
        m = Module()
        reply = Reply(m, self.reply, longest=len(self._message))
        with m.If(self.command.valid):
            m.d.comb += self.command.ready.eq(reply.send(*(C(byte, 8) for byte in self._message)))
        return m
