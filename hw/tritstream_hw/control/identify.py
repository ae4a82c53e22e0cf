"""IDENTIFY: what was built."""

from amaranth import *
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, UNIT
from tritstream.link.protocol import PROTOCOL, Code
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item

__all__ = ["Identify"]


def identity(config: BuildConfig, build_id: bytes) -> bytes:
    """Return the whole reply to IDENTIFY."""
    fields = [
        (Code.IDENTIFY, 1), (PROTOCOL, 1), (FORMATS.version, 1),
        (int.from_bytes(build_id, "little"), 8),
        (config.beat_bytes, 1), (config.elements, 1), (config.lanes, 1), (config.candidates, 1),
        (config.max_hidden, 2), (config.max_intermediate, 2), (config.max_state, 4),
        (config.max_vocab, 4), (config.memory_bytes // UNIT, 4), (config.clock_hz, 4),
        (config.link_rate, 4),
    ]
    return b"".join(value.to_bytes(size, "little") for value, size in fields)


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
        self._identity = identity(config, build_id)
        super().__init__(command_members(Code.IDENTIFY))

    def elaborate(self, platform):
        m = Module()
        parts = [self._identity[n:n + 8] for n in range(0, len(self._identity), 8)]
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
