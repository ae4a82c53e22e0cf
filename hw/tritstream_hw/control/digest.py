"""DIGEST: a host checks an upload without reading it back."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.link.protocol import Code
from tritstream_hw.control.extent import extent_status
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item
from tritstream_hw.memory.player import unit_shift
from tritstream_hw.memory.port import REGION, beat_layout

__all__ = ["Digest"]


class Digest(wiring.Component):
    """Carries out DIGEST: CRC-32 of part of the memory, at most four bytes per cycle.

    Members
    -------
    command, reply
        See :func:`command_members`.
    region : :py:`Out(stream.Signature(REGION))`
        What is read.
    beats : :py:`In(stream.Signature(beat_layout(config)))`
        Its content.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({
            **command_members(Code.DIGEST),
            "region": Out(stream.Signature(REGION)),
            "beats": In(stream.Signature(beat_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        shift = unit_shift(self._config)
        step = min(4, self._config.beat_bytes)
        steps = self._config.beat_bytes // step
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8 * step).create()

        extent = self.command.p
        status, left = Signal(8), Signal(32)
        rest = Signal(8 * self._config.beat_bytes)      # of a beat, not yet in the CRC
        steps_left = Signal(range(max(2, steps) + 1))
        m.d.comb += [
            self.region.p.beat.eq(extent.unit << shift),
            self.region.p.beats.eq(extent.units << shift),
            crc.data.eq(rest),
            crc.valid.eq(steps_left != 0),
            self.beats.ready.eq(steps_left <= 1),
        ]
        with m.If(crc.valid):
            m.d.sync += [rest.eq(rest >> 8 * step), steps_left.eq(steps_left - 1)]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [rest.eq(self.beats.payload), steps_left.eq(steps), left.eq(left - 1)]

        with m.FSM() as fsm:
            m.d.sync += crc.start.eq(fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += status.eq(extent_status(extent, self._config))
                m.d.sync += left.eq(self.region.p.beats)
                with m.If(self.command.valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.region.valid.eq(status == 0)
                with m.If((status != 0) | self.region.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If((status != 0) | ((left == 0) & ~crc.valid)):
                    m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += [
                    self.reply.valid.eq(1),
                    self.reply.payload.eq(item(C(Code.DIGEST, 8), status, crc.crc)),
                    self.command.ready.eq(self.reply.ready),
                ]
                with m.If(self.reply.ready):
                    m.next = "IDLE"
        return m
