"""WRITE and DIGEST: the memory of the image."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Code, Status
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item
from tritstream_hw.memory.checksum import Checksum
from tritstream_hw.memory.player import MOVE, Sink
from tritstream_hw.memory.port import played_layout

__all__ = ["Extents"]


class Extents(wiring.Component):
    """Carries out WRITE and DIGEST: one move of the player each.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_units : int
        Size of the memory; 0 if there is none.

    Members
    -------
    write, digest, reply
        See :func:`command_members`.
    move, drop, idle
        See :class:`PlayerSignature`. The data of a WRITE that cannot be carried out are dropped.
    beats : :py:`In(stream.Signature(played_layout(P)))`
        What DIGEST reads.
    """

    def __init__(self, *, beat_bytes: int, memory_units: int):
        self._beat_bytes = beat_bytes
        self._memory_units = memory_units
        super().__init__({
            **command_members(Code.WRITE, Code.DIGEST),
            "move": Out(stream.Signature(MOVE)),
            "drop": Out(1),
            "idle": In(1),
            "beats": In(stream.Signature(played_layout(beat_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.checksum = checksum = Checksum(beat_bytes=self._beat_bytes)
        wiring.connect(m, wiring.flipped(self.beats), checksum.i)

        extent = self.write.p               # and of `digest`: it comes from the same bytes
        code, status, end = Signal(8), Signal(8), Signal(33)
        m.d.sync += end.eq(extent.unit + extent.units)
        m.d.comb += [
            code.eq(Mux(self.write.valid, Code.WRITE, Code.DIGEST)),
            self.move.p.streamed.eq(self.write.valid),
            self.move.p.sink.eq(Mux(self.write.valid, Sink.MEMORY, Sink.DIGEST)),
            self.move.p.unit.eq(extent.unit),
            self.move.p.units.eq(extent.units),
            self.drop.eq(self.write.valid & (status != Status.OK)),
        ]
        beyond = Status.OUT_OF_RANGE if self._memory_units else Status.NO_MEMORY

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += checksum.clear.eq(1)
                with m.If(self.write.valid | self.digest.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += status.eq(Mux(end > self._memory_units, beyond, Status.OK))
                m.next = "MOVE"
            with m.State("MOVE"):
                moves = self.write.valid | (status == Status.OK)
                m.d.comb += self.move.valid.eq(moves)
                with m.If(self.move.ready | ~moves):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.idle & ~checksum.busy):
                    m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += [
                    self.reply.valid.eq(1),
                    self.reply.payload.eq(item(code, status, checksum.crc)),
                    self.write.ready.eq(self.reply.ready),
                    self.digest.ready.eq(self.reply.ready),
                ]
                with m.If(self.write.valid):
                    m.d.comb += self.reply.payload.eq(item(code, status))
                with m.If(self.reply.ready):
                    m.next = "IDLE"
        return m
