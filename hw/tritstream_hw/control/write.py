"""WRITE: the host fills the memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.link.protocol import Code
from tritstream_hw.control.extent import extent_status
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item
from tritstream_hw.memory.player import unit_shift
from tritstream_hw.memory.port import beat_layout, write_layout

__all__ = ["Write"]


class Write(wiring.Component):
    """Carries out WRITE: one beat per cycle from the link to the memory.

    If the command cannot be carried out, its beats are consumed all the same.

    Members
    -------
    command, reply
        See :func:`command_members`.
    beats : :py:`In(stream.Signature(beat_layout(config)))`
        The data.
    write : :py:`Out(stream.Signature(write_layout(config)))`
        To the memory.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({
            **command_members(Code.WRITE),
            "beats": In(stream.Signature(beat_layout(config))),
            "write": Out(stream.Signature(write_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        extent, shift = self.command.p, unit_shift(self._config)
        status, beat, left = Signal(8), Signal(32), Signal(32 + shift)
        m.d.comb += [
            self.write.p.beat.eq(beat),
            self.write.p.data.eq(self.beats.payload),
            self.reply.payload.eq(item(C(Code.WRITE, 8), status)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    status.eq(extent_status(extent, self._config)),
                    beat.eq(extent.unit << shift),
                    left.eq(extent.units << shift),
                ]
                with m.If(self.command.valid):
                    m.next = "MOVE"
            with m.State("MOVE"):
                with m.If(left == 0):
                    m.next = "REPLY"
                with m.Else():
                    m.d.comb += self.write.valid.eq(self.beats.valid & (status == 0))
                    m.d.comb += self.beats.ready.eq(self.write.ready | (status != 0))
                    with m.If(self.beats.valid & self.beats.ready):
                        m.d.sync += [beat.eq(beat + 1), left.eq(left - 1)]
            with m.State("REPLY"):
                m.d.comb += self.reply.valid.eq(1)
                m.d.comb += self.command.ready.eq(self.reply.ready)
                with m.If(self.reply.ready):
                    m.next = "IDLE"
        return m
