"""IDENTIFY: what was built."""

from amaranth import *
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.link.messages import Identity
from tritstream.link.protocol import Code
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item

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
        self._reply = bytes([Code.IDENTIFY]) + identity.pack()
        super().__init__(command_members(Code.IDENTIFY))

    def elaborate(self, platform):
        m = Module()
        parts = [self._reply[n:n + 8] for n in range(0, len(self._reply), 8)]
        index = Signal(range(len(parts)))
        with m.Switch(index):
            for n, part in enumerate(parts):
                with m.Case(n):
                    m.d.comb += self.reply.payload.eq(
                        item(C(int.from_bytes(part, "little"), 8 * len(part))))
        m.d.comb += self.reply.valid.eq(self.command.valid)
        with m.If(self.reply.valid & self.reply.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(index == len(parts) - 1):
                m.d.sync += index.eq(0)
                m.d.comb += self.command.ready.eq(1)
        return m
