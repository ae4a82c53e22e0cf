"""Packer: row groups of several tokens in, whole words of rows out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.core import ROWS, groups_layout
from tritstream_hw.gemv.feeder import product_layout
from tritstream_hw.gemv.layouts import lanes_layout, sums_layout
from tritstream_hw.stream.register import Register

__all__ = ["Packer"]

JOINED_ROWS = VECTORS * ROWS
"""Rows of a block, where the groups of a block are of one projection."""


class Packer(wiring.Component):
    """Joins the groups of a block of rows, and emits words of `E` rows, each once and whole.

    For builds with several tokens whose words have more rows than a group. There a `Serialiser`
    would emit most words twice, with the rows of one block and of the next. Here rows behind the
    last whole word of a token wait in a small memory for its next block, and only the last word of
    a product may have fewer rows than others.

    A block is the groups of all projections, or, if there is but one, three groups, or what is left
    of them. A product may want rows of blocks apart; then a block is of five rows, and its words
    come as those of a `Serialiser`. Of each block come the words of the first token, then those of
    the next. If that follows it, and the rows are those of three projections, they come exactly
    five cycles later, once they are taken, in which the recurrent state is there that they go on
    from.

    A block's last group stays in the queue that it comes from while its rows are emitted, so only
    the groups before it have to be kept. A block takes a cycle for each of these, and for each
    token one for each word, or one in which its rows are kept if no word becomes whole; also from
    one command to the next. Latency is one cycle from the last group of a block.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    column_beats : int
        Beats of the longest vector.
    element_width : int
        `E`, a power of two above 5.
    lanes, slots : int
        `T`, at least 2, and states that are kept between passes.

    Members
    -------
    command, lanes, i, o
        As those of `Serialiser`, with one row group at a time.
    """

    def __init__(self, *, acc_bits: int, column_beats: int, element_width: int, lanes: int,
                 slots: int = 1):
        self._width, self._lanes = element_width, lanes
        self._row = data.ArrayLayout(signed(acc_bits), VECTORS)
        super().__init__({
            "command": In(stream.Signature(product_layout(column_beats))),
            "lanes":   In(lanes_layout(lanes, slots)),
            "i":       In(stream.Signature(groups_layout(acc_bits, lanes))),
            "o":       Out(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        width = self._width
        m.submodules.register = register = Register(self.o.payload.shape())
        wiring.connect(m, register.o, wiring.flipped(self.o))

        waiting, running = Signal(), Signal()
        following = Signal(self.command.payload.shape())
        last_projection, last_row, groups_left = (
            Signal(range(VECTORS)), Signal(16), Signal(16))
        # Groups of the block that are kept, and how many are before its last one; its rows.
        kept_count, before_last, rows = (
            Signal(range(VECTORS)), Signal(range(VECTORS)), Signal(range(JOINED_ROWS + 1)))
        apart, joined, is_last_block = Signal(), Signal(), Signal()
        # Where in the block the word begins, plus E - 1: it may begin with rows that wait.
        place = Signal(range(JOINED_ROWS + width - 1), init=width - 1)
        word, lane = Signal(16), Signal.like(self.o.p.lane)
        first_word, first_place = Signal.like(word), Signal.like(place)     # of the first token
        # Cycles since the token's first word, and whether it has none left in the block.
        age, rests = Signal(range(ROWS)), Signal()
        collects, advances, whole, last_word, emits, through, waits, lane_ends, block_ends = (
            Signal() for _ in range(9))
        follows = Cat(entry.follows for entry in list(self.lanes.table)[1:])
        m.d.comb += [
            joined.eq((last_projection == 0) & ~apart),
            before_last.eq(Mux(~joined, last_projection,
                               Mux(groups_left >= VECTORS, VECTORS - 1, groups_left - 1))),
            rows.eq(Mux(joined, JOINED_ROWS, ROWS)),   # the last block may have less
            is_last_block.eq(groups_left <= Mux(joined, VECTORS, 1)),
            collects.eq(kept_count != before_last),
            advances.eq(running & ~collects & self.i.valid & register.i.ready),
            last_word.eq(is_last_block & (word == last_row >> exact_log2(width))),
            whole.eq(place < rows),
            emits.eq(whole | is_last_block | apart),
            through.eq(Mux(is_last_block, last_word,
                           Mux(apart, place >= rows - 1, place + width >= rows))),
            waits.eq((lane != self.lanes.last) & (last_projection == VECTORS - 1)
                     & follows.bit_select(lane, 1) & (age != ROWS - 1) & emits),
            lane_ends.eq(through & ~waits),
            block_ends.eq(lane_ends & (lane == self.lanes.last)),
            self.i.ready.eq(running & (collects | (block_ends & register.i.ready))),
            self.command.ready.eq(~waiting),
        ]

        kept = [Signal(self.i.p.sums.shape(), name=f"kept_{n}", reset_less=True)
                for n in range(VECTORS - 1)]
        with m.If(running & collects & self.i.valid):
            m.d.sync += kept_count.eq(kept_count + 1)
            for n, group in enumerate(kept):
                with m.If(kept_count == n):
                    m.d.sync += group.eq(self.i.p.sums)
        with m.If(advances):
            m.d.sync += age.eq(age + 1)
            with m.If(through & waits):
                m.d.sync += rests.eq(1)
            with m.Else():
                m.d.sync += [word.eq(word + 1), place.eq(place + width)]
            with m.If(lane_ends):
                m.d.sync += [age.eq(0), rests.eq(0), lane.eq(lane + 1), word.eq(first_word),
                             place.eq(first_place)]
            with m.If(block_ends):
                following_word, following_place = word + whole, place + Mux(whole, width, 0) - rows
                m.d.sync += [lane.eq(0), kept_count.eq(0),
                             groups_left.eq(groups_left - Mux(joined, VECTORS, 1)),
                             word.eq(following_word), first_word.eq(following_word),
                             place.eq(following_place), first_place.eq(following_place)]
                with m.If(is_last_block):
                    m.d.sync += [running.eq(0), word.eq(0), first_word.eq(0),
                                 place.eq(width - 1), first_place.eq(width - 1)]

        with m.If(waiting & (~running | (advances & block_ends & is_last_block))):
            m.d.sync += [
                waiting.eq(0),
                running.eq(1),
                last_row.eq(following.rows - 1),
                last_projection.eq(following.projections - 1),
                groups_left.eq(following.blocks),
                apart.eq(following.apart),
            ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [waiting.eq(1), following.eq(self.command.p)]

        there = (1 << last_row[:exact_log2(width)] + 1) - 1     # in the last word
        of_block = Signal(width)
        m.d.comb += [
            register.i.valid.eq(running & ~collects & self.i.valid & emits & ~rests),
            register.i.p.live.eq(Mux(last_word, there, -1) & (of_block | ~apart.replicate(width))),
            register.i.p.word.eq(word),
            register.i.p.lane.eq(lane),
            register.i.p.last.eq(block_ends & is_last_block),
        ]
        sums = [group[0][lane] for group in (*kept, self.i.p.sums)]
        groups = [*(Mux(before_last == n, sums[-1], group) for n, group in enumerate(sums[:-1])),
                  sums[-1]]
        m.d.comb += of_block.eq(Cat((place > width - 2 - n if n < width - 1 else 1)
                                    & (place < ROWS + width - 1 - n) for n in range(width)))
        self._pick(m, place, whole, advances & lane_ends, lane,
                   [data.View(sums[-1].shape(), group) for group in groups], register.i.p.rows)
        return m

    def _pick(self, m, place, whole, keeps, lane, groups, rows):
        """Make a word of rows that waited and rows of the block, and keep those behind it."""
        width = self._width
        shape = data.ArrayLayout(self._row, width - 1)
        m.submodules.waiting_rows = memory = Memory(shape=shape, depth=self._lanes, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        picked, behind = Signal(data.ArrayLayout(self._row, width)), Signal(shape)
        m.d.comb += [
            read.addr.eq(lane),
            write.addr.eq(lane),
            write.en.eq(keeps),
            *(row[projection].eq(pick[projection]) for row, pick in zip(rows, picked, strict=True)
              for projection in range(VECTORS)),
        ]
        with m.Switch(place):
            for begins in range(JOINED_ROWS + width - 1):
                first = begins - (width - 1)
                with m.Case(begins):
                    for n, pick in enumerate(picked):
                        m.d.comb += pick.eq(
                            read.data[n] if first + n < 0 else self._row_of(groups, first + n))
                    for n, pick in enumerate(behind):
                        m.d.comb += pick.eq(self._row_of(groups, first + width + n))
        for n, kept in enumerate(write.data):
            m.d.comb += kept.eq(Mux(whole, behind[n], picked[n]))

    def _row_of(self, groups, row: int) -> Value:
        """Sums of a row of a block: all groups have it, or, of one projection, one of them has."""
        if row >= JOINED_ROWS:
            return C(0, self._row.size)
        first = groups[row // ROWS][row % ROWS]
        others = [group[row] for group in groups[1:]] if row < ROWS else []
        return Cat(first, *others)
