"""Serialiser of row sums: five at a time in, one at a time out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.core import ROWS, sums_layout
from tritstream_hw.gemv.feeder import product_layout
from tritstream_hw.gemv.layouts import sum_layout
from tritstream_hw.stream.register import Register

__all__ = ["Serialiser"]


class Serialiser(wiring.Component):
    """Emits the sums of row groups one by one, without the rows that only fill up the last block.

    Throughput is one row sum per cycle, also from one command to the next; latency is one cycle.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    column_beats : int
        Beats of the longest vector.

    Members
    -------
    command : :py:`In(stream.Signature(product_layout(column_beats)))`
        What the groups are that follow. One command may wait while another is under way.
    i : :py:`In(stream.Signature(sums_layout(acc_bits)))`
        Groups: projections fastest, then blocks of five rows.
    o : :py:`Out(stream.Signature(sum_layout(acc_bits)))`
        Row sums, numbered; `last` is the last one of the command.
    """

    def __init__(self, *, acc_bits: int, column_beats: int):
        super().__init__({
            "command": In(stream.Signature(product_layout(column_beats))),
            "i":       In(stream.Signature(sums_layout(acc_bits))),
            "o":       Out(stream.Signature(sum_layout(acc_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.register = register = Register(self.o.payload.shape())
        wiring.connect(m, register.o, wiring.flipped(self.o))

        waiting = Signal()
        next_row, next_projection = Signal(16), Signal(range(VECTORS))
        running = Signal()
        last_row, last_projection = Signal(16), Signal(range(VECTORS))
        member, projection = Signal(range(ROWS)), Signal(range(VECTORS))
        row, first_row = Signal(16), Signal(16)
        permitted, taken, row_ends, group_ends, block_ends, command_ends = (
            Signal() for _ in range(6))
        m.d.comb += [
            permitted.eq(running & register.i.ready),
            taken.eq(permitted & self.i.valid),
            row_ends.eq(row == last_row),
            group_ends.eq(row_ends | (member == ROWS - 1)),
            block_ends.eq(group_ends & (projection == last_projection)),
            command_ends.eq(block_ends & row_ends),
            self.i.ready.eq(permitted & group_ends),
            self.command.ready.eq(~waiting),
        ]

        with m.If(taken):
            m.d.sync += [member.eq(member + 1), row.eq(row + 1)]
            with m.If(group_ends):
                m.d.sync += [member.eq(0), row.eq(first_row), projection.eq(projection + 1)]
            with m.If(block_ends):
                m.d.sync += [row.eq(row + 1), first_row.eq(row + 1), projection.eq(0)]
            with m.If(command_ends):
                m.d.sync += [running.eq(0), row.eq(0), first_row.eq(0)]

        with m.If(waiting & (~running | (taken & command_ends))):
            m.d.sync += [
                waiting.eq(0),
                running.eq(1),
                last_row.eq(next_row),
                last_projection.eq(next_projection),
            ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                waiting.eq(1),
                next_row.eq(self.command.p.rows - 1),
                next_projection.eq(self.command.p.projections - 1),
            ]

        m.d.comb += [
            register.i.valid.eq(running & self.i.valid),
            register.i.p.acc.eq(self.i.p.sums[member]),
            register.i.p.projection.eq(projection),
            register.i.p.row.eq(row),
            register.i.p.last.eq(command_ends),
        ]
        return m
