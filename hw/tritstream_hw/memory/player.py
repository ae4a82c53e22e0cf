"""The one way of a beat: from the memory or the host to the accelerator, the memory or a digest."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream.stripes import Stripes
from tritstream_hw.arithmetic.times import times
from tritstream_hw.memory.fetcher import Fetcher
from tritstream_hw.memory.port import (
    MemorySignature,
    beats_per_unit,
    command_layout,
    played_layout,
)
from tritstream_hw.stream.gearbox import Gearbox
from tritstream_hw.stream.register import Register

__all__ = ["Player", "PlayerSignature", "Sink", "move_layout", "unit_bits"]


class Sink(enum.Enum, shape=2):
    """Where beats go."""

    DIGEST = 0
    MEMORY = 1
    ACCELERATOR = 2


def unit_bits(memory_units: int) -> int:
    """Width of the number of a unit of the memory."""
    return ceil_log2(max(2, memory_units))


def move_layout(memory_units: int) -> data.StructLayout:
    """Layout of a number of units that are moved."""
    return data.StructLayout({
        "streamed": 1,      # the beats come by the link, else from the memory
        "sink": Sink,
        "unit": unit_bits(memory_units),    # first of the memory, read or written
        "units": 32,
        "last": 1,          # the last of these beats is marked, and there is one
    })


class PlayerSignature(wiring.Signature):
    """Port of a player, as its user has it.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_units : int
        Size of the memory; 0 if there is none.

    Members
    -------
    command : :py:`Out(stream.Signature(move_layout(memory_units)))`
        What to move; taken when all before it is under way.
    bytes : :py:`Out(stream.Signature(8))`
        From the link; no more are taken than the moves name.
    digest : :py:`In(stream.Signature(played_layout(P)))`
        The beats that go there.
    drop : :py:`Out(1)`
        Beats for accelerator and memory are consumed, and no longer offered.
    idle : :py:`In(1)`
        All that has been taken is done, though the memory may not have taken the last beat yet.
    """

    def __init__(self, *, beat_bytes: int, memory_units: int):
        super().__init__({
            "command": Out(stream.Signature(move_layout(memory_units))),
            "bytes": Out(stream.Signature(8)),
            "digest": In(stream.Signature(played_layout(beat_bytes))),
            "drop": Out(1),
            "idle": In(1),
        })


class Player(wiring.Component):
    """Moves beats, as it is told.

    Moves from the memory to one sink follow each other without a gap, up to one whose last beat is
    marked. A beat from the memory is passed on in the cycle in which it comes, one from the link a
    cycle after its last byte. Whoever gives commands knows that the memory holds what they name,
    and that beats of the link go to the accelerator or the memory, those of the memory to the
    accelerator or the digest.

    It is not reset with those it serves, but by `abandon`: what it offers the memory has to stand.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_units : int
        Size of the memory; 0 if nothing is behind the port.

    Members
    -------
    control : :py:`In(PlayerSignature(...))`
        What to move.
    accelerator : :py:`Out(stream.Signature(played_layout(P)))`
        Beats of passes.
    abandon : :py:`In(1)`
        Strobe: forget everything.
    memory : :py:`Out(MemorySignature(P))`
        The memory.
    """

    def __init__(self, *, beat_bytes: int, memory_units: int):
        self._beat_bytes, self._unit_bytes = beat_bytes, Stripes(beat_bytes).unit_bytes
        self._memory_beats = max(2, memory_units * beats_per_unit(beat_bytes))
        super().__init__({
            "control": In(PlayerSignature(beat_bytes=beat_bytes, memory_units=memory_units)),
            "accelerator": Out(stream.Signature(played_layout(beat_bytes))),
            "abandon": In(1),
            "memory": Out(MemorySignature(beat_bytes)),
        })

        # Attributes, so that a proof can hold them to what they owe each other.
        self.gearbox = Gearbox(beat_bytes)
        self.fetcher = Fetcher(beat_bytes=beat_bytes, memory_beats=self._memory_beats)
        self.writes = Register(command_layout(beat_bytes))
        self.move = Signal(move_layout(memory_units))           # the latest
        self.expects = Signal()                                 # more bytes of the link
        self.left = Signal(32 + ceil_log2(self._unit_bytes))    # so many
        self.beat = Signal(range(self._memory_beats))           # to be written next

    def elaborate(self, platform):
        m = Module()
        gearbox, fetcher, writes = self.gearbox, self.fetcher, self.writes
        m.submodules.gearbox = ResetInserter(self.abandon)(gearbox)
        m.submodules.fetcher, m.submodules.writes = fetcher, writes
        command, drop, move = self.control.command, self.control.drop, self.move
        self._assemble(m)
        self._use_memory(m)

        # Another way is taken when all is done on the one before, and a mark stands till it is.
        taken, follows = Signal(), Signal()
        m.d.comb += [
            self.control.idle.eq(~self.expects & ~gearbox.o.valid & fetcher.idle),
            follows.eq(self.control.idle | (~move.streamed & ~move.last
                                            & (move.sink == command.p.sink))),
            command.ready.eq(~self.abandon & Mux(
                command.p.streamed, self.control.idle, fetcher.region.ready & follows)),
            taken.eq(command.valid & command.ready),
            fetcher.region.valid.eq(command.valid & ~command.p.streamed & follows),
        ]
        with m.If(taken):
            m.d.sync += move.eq(command.payload)

        # While a beat waits in the gearbox, none comes from the memory.
        beat = Signal(played_layout(self._beat_bytes))
        m.d.comb += [
            beat.data.eq(Mux(gearbox.o.valid, gearbox.o.payload, fetcher.o.payload)),
            beat.last.eq(move.last & Mux(gearbox.o.valid, ~self.expects, fetcher.last)),
            self.accelerator.payload.eq(beat),
            self.control.digest.payload.eq(beat),
            writes.i.p.data.eq(beat.data),
        ]
        with m.Switch(move.sink):
            with m.Case(Sink.ACCELERATOR):
                m.d.comb += [
                    self.accelerator.valid.eq((gearbox.o.valid | fetcher.o.valid) & ~drop),
                    gearbox.o.ready.eq(self.accelerator.ready | drop),
                    fetcher.o.ready.eq(self.accelerator.ready | drop),
                ]
            with m.Case(Sink.MEMORY):
                m.d.comb += [
                    writes.i.valid.eq(gearbox.o.valid & ~drop),
                    gearbox.o.ready.eq(writes.i.ready | drop),
                ]
            with m.Case(Sink.DIGEST):
                m.d.comb += [
                    self.control.digest.valid.eq(fetcher.o.valid),
                    fetcher.o.ready.eq(self.control.digest.ready),
                ]
        return m

    def _assemble(self, m):
        """Give the gearbox as many bytes as were named."""
        gearbox, expects, left = self.gearbox, self.expects, self.left
        m.d.comb += [
            gearbox.i.payload.eq(self.control.bytes.payload),
            gearbox.i.valid.eq(self.control.bytes.valid & expects),
            self.control.bytes.ready.eq(gearbox.i.ready & expects),
        ]
        with m.If(self.control.bytes.valid & self.control.bytes.ready):
            m.d.sync += [left.eq(left - 1), expects.eq(left != 1)]
        command = self.control.command
        with m.If(command.valid & command.ready & command.p.streamed):
            m.d.sync += [left.eq(times(command.p.units, self._unit_bytes)),
                         expects.eq(command.p.units != 0)]
        with m.If(self.abandon):
            m.d.sync += expects.eq(0)

    def _use_memory(self, m):
        """Share the memory's commands; a read is asked for when all writes have been taken."""
        fetcher, writes = self.fetcher, self.writes
        command, memory = self.control.command, self.memory
        shift = exact_log2(beats_per_unit(self._beat_bytes))
        m.d.comb += [
            fetcher.abandon.eq(self.abandon),
            fetcher.region.p.beat.eq(command.p.unit << shift),
            fetcher.region.p.beats.eq(command.p.units << shift),
            fetcher.data.valid.eq(memory.data.valid),
            fetcher.data.payload.eq(memory.data.payload),
            memory.data.ready.eq(fetcher.data.ready),
            writes.i.p.write.eq(1),
            writes.i.p.beats.eq(1),
            writes.o.ready.eq(memory.command.ready),
            fetcher.request.ready.eq(memory.command.ready & ~writes.o.valid),
            memory.command.valid.eq(writes.o.valid | fetcher.request.valid),
            memory.command.payload.eq(writes.o.payload),
        ]
        with m.If(~writes.o.valid):
            m.d.comb += [
                memory.command.p.write.eq(0),
                memory.command.p.beat.eq(fetcher.request.p.beat),
                memory.command.p.beats.eq(fetcher.request.p.beats),
            ]
        m.d.comb += writes.i.p.beat.eq(self.beat)
        with m.If(command.valid & command.ready):
            m.d.sync += self.beat.eq(command.p.unit << shift)
        with m.Elif(writes.i.valid & writes.i.ready):
            m.d.sync += self.beat.eq(self.beat + 1)
