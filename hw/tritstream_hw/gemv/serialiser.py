"""Serialiser: row groups in, words of rows out, each row with the sums of all its projections."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.core import ROWS, groups_layout
from tritstream_hw.gemv.feeder import product_layout
from tritstream_hw.gemv.layouts import lanes_layout, sums_layout
from tritstream_hw.stream.register import Register

__all__ = ["Serialiser"]


class Serialiser(wiring.Component):
    """Joins the groups of a block of five rows, and emits the rows `E` at a time.

    Words are aligned: word n holds the rows from :py:`E * n` on. As `E` does not divide five, a
    word may come twice, with the last rows of one block and with the first of the next. Rows that
    only fill up the last block do not come. Of each block come the words of the first token, then
    those of the next. If that follows it, and the rows are those of three projections, they come
    exactly five cycles later, once they are taken, in which the recurrent state is there that they
    go on from. Therefore blocks that come side by side leave one after the other, those that only
    fill up the last of them not at all; of an only token, they are one block.

    A block's last group stays in the queue that it comes from while its rows are emitted, so only
    the groups before it have to be kept. Blocks side by side take a cycle for each of these, and
    each one for each word of each token: of five rows 5 if `E` is 1, 3 if it is 2, 1 or 2 if it is
    more; also from one command to the next. Latency is one cycle from the last group of a block.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    column_beats : int
        Beats of the longest vector.
    element_width : int
        `E`, a power of two.
    lanes, groups, slots : int
        `T`, `G`, and states that are kept between passes.

    Members
    -------
    command : :py:`In(stream.Signature(product_layout(column_beats)))`
        What the groups are that follow. One command may wait while another is under way.
    lanes : :py:`In(lanes_layout(T, slots))`
        The tokens of the pass, stable while a command is under way.
    i : :py:`In(stream.Signature(groups_layout(acc_bits, T, G)))`
        Groups: projections fastest, then blocks of five rows of each of `G`.
    o : :py:`Out(stream.Signature(sums_layout(acc_bits, E, T)))`
        Words of rows; sums of projections that there are not are arbitrary.
    """

    def __init__(self, *, acc_bits: int, column_beats: int, element_width: int, lanes: int = 1,
                 groups: int = 1, slots: int = 1):
        self._width, self._lanes = element_width, lanes
        # Groups whose rows are one block, and how many of these blocks are side by side.
        self._joined, self._sides = (groups, 1) if lanes == 1 else (1, groups)
        super().__init__({
            "command": In(stream.Signature(product_layout(column_beats))),
            "lanes":   In(lanes_layout(lanes, slots)),
            "i":       In(stream.Signature(groups_layout(acc_bits, lanes, groups))),
            "o":       Out(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        width, block = self._width, ROWS * self._joined     # rows of a word, and of a block
        m.submodules.register = register = Register(self.o.payload.shape())
        wiring.connect(m, register.o, wiring.flipped(self.o))

        waiting, running = Signal(), Signal()
        following = Signal(self.command.payload.shape())
        projection, last_projection = Signal(range(VECTORS)), Signal(range(VECTORS))
        word = Signal(16)
        # Which of the blocks side by side is emitted, rows behind it, and that there are none.
        side, rows_left, is_last_block = Signal(range(self._sides)), Signal(17), Signal()
        # Where in the last block the last row is, and in its word.
        last_place, last_row = Signal(range(block)), Signal(exact_log2(width))
        # Where in the block the word begins, plus E - 1: it may begin in the block before.
        place = Signal(range(block + width - 1), init=width - 1)
        # The token whose rows are emitted, and where in the block the first one's began.
        lane, first_word, first_place = (
            Signal.like(self.o.p.lane), Signal.like(word), Signal.like(place))
        # Cycles since the token's first word, and whether it has none left in the block.
        age, rests, through, waits = Signal(range(ROWS)), Signal(), Signal(), Signal()
        collects, emits, word_ends, last_word, lane_ends, block_ends, command_ends, taken = (
            Signal() for _ in range(8))
        follows = Cat(entry.follows for entry in list(self.lanes.table)[1:])
        m.d.comb += [
            collects.eq(projection != last_projection),
            emits.eq(running & ~collects & self.i.valid & register.i.ready),
            last_word.eq(is_last_block & (place >= last_place)),
            # A word that ends behind the block is not over yet.
            word_ends.eq((place <= block - 1) | last_word),
            through.eq((place >= block - 1) | last_word),
            waits.eq((lane != self.lanes.last) & (last_projection == VECTORS - 1)
                     & follows.bit_select(lane, 1) & (age != ROWS - 1)),
            lane_ends.eq(through & ~waits),
            block_ends.eq(lane_ends & (lane == self.lanes.last)),
            command_ends.eq(block_ends & last_word),
            taken.eq(block_ends & ((side == self._sides - 1) | last_word)),
            self.i.ready.eq(running & (collects | (taken & register.i.ready))),
            self.command.ready.eq(~waiting),
        ]

        kept = [Signal(self.i.p.sums.shape(), name=f"kept_{n}", reset_less=True)
                for n in range(VECTORS - 1)]
        with m.If(running & collects & self.i.valid):
            m.d.sync += projection.eq(projection + 1)
            for n, group in enumerate(kept):
                with m.If(projection == n):
                    m.d.sync += group.eq(self.i.p.sums)
        with m.If(emits):
            m.d.sync += age.eq(age + 1)
            with m.If(through & waits):
                m.d.sync += rests.eq(1)
            with m.Else():
                m.d.sync += [word.eq(word + word_ends), place.eq(place + width)]
            with m.If(lane_ends):
                m.d.sync += [age.eq(0), rests.eq(0), lane.eq(lane + 1), word.eq(first_word),
                             place.eq(first_place)]
            with m.If(block_ends):
                following_place = Mux(word_ends, width - 1, place - block)
                m.d.sync += [side.eq(side + 1), lane.eq(0), rows_left.eq(rows_left - block),
                             is_last_block.eq(rows_left <= block), last_place.eq(rows_left - 1),
                             word.eq(word + word_ends), first_word.eq(word + word_ends),
                             place.eq(following_place), first_place.eq(following_place)]
            with m.If(taken):
                m.d.sync += [projection.eq(0), side.eq(0)]
            with m.If(command_ends):
                m.d.sync += [running.eq(0), word.eq(0), place.eq(width - 1),
                             first_word.eq(0), first_place.eq(width - 1)]

        with m.If(waiting & (~running | (emits & command_ends))):
            m.d.sync += [
                waiting.eq(0),
                running.eq(1),
                last_row.eq(following.rows - 1),
                last_place.eq(following.rows - 1),
                last_projection.eq(following.projections - 1),
                rows_left.eq(following.rows - block),
                is_last_block.eq(following.rows <= block),
            ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [waiting.eq(1), following.eq(self.command.p)]

        live = Signal(width)
        there = (1 << last_row + 1) - 1     # in the last word
        m.d.comb += [
            register.i.valid.eq(running & ~collects & self.i.valid & ~rests),
            register.i.p.live.eq(live & Mux(last_word, there, -1)),
            register.i.p.word.eq(word),
            register.i.p.lane.eq(lane),
            register.i.p.last.eq(command_ends),
        ]
        last, *groups = (self._rows_of(m, sums, side, lane) for sums in (self.i.p.sums, *kept))
        with m.Switch(place):
            for begins in range(block + width - 1):
                with m.Case(begins):
                    self._pick(m, begins - (width - 1), live, register.i.p.rows, groups, last,
                               last_projection)
        return m

    def _rows_of(self, m, sums, side, lane):
        """Return the sums of the rows of the block and the token that are emitted."""
        rows = []
        for n in range(self._joined):
            # Named, for what has no name is chosen anew wherever it is used.
            chosen = Signal.like(sums[0][0], name="chosen")
            m.d.comb += chosen.eq(sums[n][0] if self._lanes == 1 else sums[side][lane])
            rows += list(chosen)
        return rows

    def _pick(self, m, begins, live, rows, groups, last, last_projection):
        """Make a word of those rows of the block that lie in it; it begins with row `begins`."""
        for n, row in enumerate(range(begins, begins + self._width)):
            if 0 <= row < len(last):
                m.d.comb += live[n].eq(1)
                for projection, group in enumerate([*groups, last]):
                    m.d.comb += rows[n][projection].eq(
                        Mux(last_projection == projection, last[row], group[row]))
