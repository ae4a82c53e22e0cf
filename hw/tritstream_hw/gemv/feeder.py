"""Feeder of the core: brings tape beats and activations together."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.gemv.activations import VECTORS, ActivationRead
from tritstream_hw.gemv.core import operands_layout
from tritstream_hw.stream.register import Register

__all__ = ["Feeder", "available_layout", "product_layout"]


def product_layout(column_beats: int) -> data.StructLayout:
    """Layout of the shape of a product of at most so many beats of columns.

    Every number is at least 1.
    """
    return data.StructLayout({
        "column_beats": range(column_beats + 1),
        "blocks":       16,     # ceil(rows / (5 G))
        "rows":         16,     # of each projection
        "projections":  range(VECTORS + 1),
        "separate":     1,      # projection p has vector p; else all have vector 0
        "apart":        1,      # a word has no rows of more than one block
    })


def available_layout(column_beats: int) -> data.ArrayLayout:
    """Layout of the number of beats, from beat 0 on, that each vector has in the memory."""
    return data.ArrayLayout(range(column_beats + 1), VECTORS)


class Feeder(wiring.Component):
    """Takes the beats of a command from the tape and reads the activations that belong to them.

    Throughput is one beat of each row group per cycle, also from one command to the next; latency
    is one cycle. A beat is taken only once its activations are in the memory.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    column_beats : int
        Beats of the longest vector.
    lanes, groups : int
        `T` and `G`.

    Members
    -------
    command : :py:`In(stream.Signature(product_layout(column_beats)))`
        One command may wait while another is under way.
    beats : :py:`In(stream.Signature(data.ArrayLayout(8, G P)))`
        Tape.
    available : :py:`In(available_layout(column_beats))`
        What the memory holds. May only shrink while no command is under way that reads the vector;
        what it grows by is used a cycle later.
    read : :py:`Out(ActivationRead(...))`
        To the activation memory.
    o : :py:`Out(stream.Signature(operands_layout(P, T, G)))`
        To the core.
    """

    def __init__(self, *, beat_bytes: int, column_beats: int, lanes: int = 1, groups: int = 1):
        self._column_beats = column_beats
        super().__init__({
            "command":   In(stream.Signature(product_layout(column_beats))),
            "beats":     In(stream.Signature(data.ArrayLayout(8, groups * beat_bytes))),
            "available": In(available_layout(column_beats)),
            "read":      Out(ActivationRead(beat_bytes=beat_bytes, column_beats=column_beats,
                                            lanes=lanes)),
            "o":         Out(stream.Signature(operands_layout(beat_bytes, lanes, groups))),
        })
        # An attribute, because a proof has to know when `available` may shrink.
        self.running = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.register = register = Register(
            data.StructLayout({"codes": self.beats.payload.shape(), "last": 1}))

        running, separate = self.running, Signal()
        following_command, waiting = Signal(self.command.payload.shape()), Signal()
        column, last_column = Signal(range(self._column_beats)), Signal.like(self.read.beat)
        projection, last_projection = Signal(range(VECTORS)), Signal(range(VECTORS))
        blocks_left = Signal(16)
        vector, following = Signal(range(VECTORS)), Signal(range(VECTORS))
        limit = Signal(range(self._column_beats + 1))
        there, permitted, taken, group_ends, block_ends, command_ends = (
            Signal() for _ in range(6))
        m.d.comb += [
            following.eq(Mux(separate & (projection != last_projection), projection + 1, 0)),
            there.eq(running & (column < limit)),
            permitted.eq(there & register.i.ready),
            taken.eq(permitted & self.beats.valid),
            group_ends.eq(column == last_column),
            block_ends.eq(group_ends & (projection == last_projection)),
            command_ends.eq(block_ends & (blocks_left == 1)),
            self.beats.ready.eq(permitted),
            self.command.ready.eq(~waiting),
        ]

        # A cycle old, which is safe because it only grows, and takes the selection out of the
        # longest path.
        m.d.sync += limit.eq(self.available[vector])
        with m.If(taken):
            m.d.sync += column.eq(column + 1)
            with m.If(group_ends):
                m.d.sync += [column.eq(0), projection.eq(projection + 1)]
                m.d.sync += [vector.eq(following), limit.eq(self.available[following])]
            with m.If(block_ends):
                m.d.sync += [projection.eq(0), blocks_left.eq(blocks_left - 1)]
            with m.If(command_ends):
                m.d.sync += running.eq(0)
        with m.If(waiting & (~running | (taken & command_ends))):
            m.d.sync += [
                waiting.eq(0),
                running.eq(1),
                separate.eq(following_command.separate),
                last_column.eq(following_command.column_beats - 1),
                last_projection.eq(following_command.projections - 1),
                blocks_left.eq(following_command.blocks),
            ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [waiting.eq(1), following_command.eq(self.command.p)]

        # The memory keeps its output while it is not enabled, so the two halves wait together.
        m.d.comb += [
            self.read.en.eq(taken),
            self.read.vector.eq(vector),
            self.read.beat.eq(column),
            register.i.valid.eq(there & self.beats.valid),
            register.i.p.codes.eq(self.beats.payload),
            register.i.p.last.eq(group_ends),
            register.o.ready.eq(self.o.ready),
            self.o.valid.eq(register.o.valid),
            self.o.p.codes.eq(register.o.p.codes),
            self.o.p.last.eq(register.o.p.last),
            self.o.p.acts.eq(self.read.data),
        ]
        return m
