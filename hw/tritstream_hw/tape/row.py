"""Reader of embedding rows: bytes to elements."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import UNIT
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES
from tritstream_hw.arithmetic.times import times
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.gemv.layouts import sums_layout

__all__ = ["RowReader"]


class RowReader(wiring.Component):
    """Takes embedding rows apart: one scale for the dequantiser, then int8 or 24-bit elements.

    There is a row for each token of a pass. Throughput is `E` bytes per cycle, but no more than a
    prefix has. Padding behind the elements is taken and dropped, at once if a beat has all of it.

    Parameters
    ----------
    flat_bytes : int
        Bytes of a stripe that have rows.
    acc_bits : int
        Width of a row sum.
    element_width : int
        `E`.
    lanes : int
        `T`.

    Members
    -------
    command : :py:`In(stream.Signature(16))`
        Rows of so many elements, at least 1, come next on `beats`. Taken while there is none.
    last : :py:`In(range(T))`
        The last token that there is. Stable while rows are under way.
    beats : :py:`In(stream.Signature(data.ArrayLayout(8, flat_bytes)))`
        Tape.
    scales : :py:`Out(stream.Signature(data.ArrayLayout(SCALE, T)))`
        Scales of the rows, each there before the first element of its row. To be taken before the
        next command.
    o : :py:`Out(stream.Signature(sums_layout(acc_bits, E, T)))`
        Elements, as row sums of projection 0.
    done : :py:`Out(1)`
        Strobe in the cycle after that in which the last of the last row's padding is used.
    """

    def __init__(self, *, flat_bytes: int, acc_bits: int, element_width: int, lanes: int = 1):
        self._flat_bytes, self._width = flat_bytes, element_width
        super().__init__({
            "command": In(stream.Signature(16)),
            "last":    In(range(lanes)),
            "beats":   In(stream.Signature(data.ArrayLayout(8, flat_bytes))),
            "scales":  Out(stream.Signature(data.ArrayLayout(SCALE, lanes))),
            "o":       Out(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
            "done":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What is taken in a cycle is a chunk of so many bytes; of int8, a word has so many of them.
        size = min(self._width, ROW_PREFIX)
        beat_chunks, word_chunks = self._flat_bytes // size, self._width // size
        unit_chunks = max(UNIT, self._flat_bytes) // size

        beat = Signal(8 * self._flat_bytes)
        left = Signal(range(beat_chunks + 1))           # chunks of `beat` not used yet
        position = Signal(exact_log2(unit_chunks))      # in a unit
        prefix_left = Signal(range(ROW_PREFIX // size + 1))
        word, last_row = Signal(16), Signal(16)         # the next word, and the last row of all
        in_padding = Signal()
        # Chunks of the word, how many there are, and which is the last one of this word.
        chunks = Signal(data.ArrayLayout(8 * size, WIDE_BYTES * word_chunks), reset_less=True)
        wide, there, last_chunk = (
            Signal(), Signal(range(len(chunks))), Signal(range(len(chunks))))
        running = Signal()
        chunk, last_place = beat[:8 * size], last_row[:exact_log2(self._width)]
        in_row, completes, used, row_ends, ends = (Signal() for _ in range(5))
        lane, last_word = Signal.like(self.last), Signal()
        m.d.comb += [
            in_row.eq((prefix_left == 0) & ~in_padding),
            completes.eq(in_row & (there == last_chunk)),
            self.o.valid.eq(running & (left != 0) & completes),
            last_word.eq(word == last_row >> exact_log2(self._width)),
            last_chunk.eq(Mux(wide, WIDE_BYTES * word_chunks - 1, word_chunks - 1)),
            self.o.p.word.eq(word),
            self.o.p.lane.eq(lane),
            self.o.p.last.eq(last_word & (lane == self.last)),
            self.o.p.live.eq(Mux(last_word, (1 << last_place + 1) - 1, -1)),
            used.eq(running & (left != 0) & (~completes | self.o.ready)),
            self.beats.ready.eq(running & (left == 0)),
            row_ends.eq(used & (position.all() | (unit_chunks == beat_chunks))
                        & (in_padding | (completes & last_word))),
            ends.eq(row_ends & (lane == self.last)),
            self.command.ready.eq(~running),
        ]
        # The last word of a row ends with its last element: padding behind may be none.
        with m.If(last_word):
            m.d.comb += last_chunk.eq(Mux(
                wide, times(last_place, WIDE_BYTES) + WIDE_BYTES - 1, last_place)
                >> exact_log2(size))
        octets = Cat(Mux(there == n, chunk, kept) for n, kept in enumerate(chunks))
        for n, row in enumerate(self.o.p.rows):
            m.d.comb += row[0].eq(Mux(
                wide, octets.word_select(n, 8 * WIDE_BYTES).as_signed(),
                octets.word_select(n, 8).as_signed()))

        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [running.eq(1), position.eq(0), left.eq(0), word.eq(0), there.eq(0),
                         prefix_left.eq(ROW_PREFIX // size), last_row.eq(self.command.payload - 1),
                         in_padding.eq(0), lane.eq(0)]
        with m.If(self.scales.ready):
            m.d.sync += self.scales.valid.eq(0)
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [beat.eq(self.beats.payload), left.eq(beat_chunks)]
        with m.If(used):
            m.d.sync += [beat.eq(beat >> 8 * size), left.eq(left - 1), position.eq(position + 1)]
            with m.If(in_row):
                m.d.sync += [chunks[there].eq(chunk), there.eq(there + 1),
                             word.eq(word + completes)]
                with m.If(completes):
                    m.d.sync += [there.eq(0), in_padding.eq(last_word)]
            with m.Elif(prefix_left != 0):
                prefix = Cat(self.scales.p[lane], Signal(2), wide)
                m.d.sync += prefix_left.eq(prefix_left - 1)
                with m.If(prefix_left == 1):
                    m.d.sync += self.scales.valid.eq(1)
                for n in range(ROW_PREFIX // size):
                    with m.If(prefix_left == ROW_PREFIX // size - n):
                        m.d.sync += prefix[8 * size * n:8 * size * (n + 1)].eq(chunk)
        with m.If(row_ends):
            m.d.sync += [left.eq(0), position.eq(0)]
        # A flip-flop, for what it depends on comes late, and much depends on it.
        m.d.sync += self.done.eq(ends)
        with m.If(row_ends & (lane != self.last)):
            m.d.sync += [lane.eq(lane + 1), word.eq(0), prefix_left.eq(ROW_PREFIX // size),
                         in_padding.eq(0)]
        with m.If(ends):
            m.d.sync += running.eq(0)
        return m
