"""Columns of an SDR SDRAM: what is read and written of open rows."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream_hw.memory.sdr.chip import SdrChip, SdrCycles
from tritstream_hw.memory.sdr.pads import BURST, Command
from tritstream_hw.memory.sdr.segments import segment_layout

__all__ = ["Columns"]

IN_BURST = exact_log2(BURST)


class Columns(wiring.Component):
    """Reads and writes segments; reads follow each other without a gap while there is room.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    cycles : SdrCycles
        Its times.
    beat_bytes : int
        `P`.
    clear_cycles : int
        Cycles from the last word of a burst being asked for until the data pins may be driven.

    Members
    -------
    i : :py:`In(stream.Signature(segment_layout))`
        Segments whose rows are open.
    room : :py:`In(1)`
        There is room for the words of another burst.
    command, address : :py:`Out(Command)`, :py:`Out(row_bits)`
        For the bank `used`.
    o : :py:`Out(word_bits)`
        Word that is written by the `command` of this cycle.
    wanted : :py:`Out(1)`
        A word of a read is asked for: each cycle of a burst stands for one of its words.
    used : :py:`Out(2)`
        Bank of the segment that was taken last.
    done : :py:`Out(1)`
        That segment is, and its bank may be closed.
    """

    def __init__(self, *, chip: SdrChip, cycles: SdrCycles, beat_bytes: int, clear_cycles: int):
        self._chip = chip
        self._cycles = cycles
        self._words = beat_bytes // chip.word_bytes
        self._clear_cycles = clear_cycles
        super().__init__({
            "i": In(stream.Signature(segment_layout(chip, beat_bytes))),
            "room": In(1),
            "command": Out(Command, init=Command.NOTHING),
            "address": Out(chip.row_bits),
            "o": Out(chip.word_bits),
            "wanted": Out(1),
            "used": Out(chip.bank_bits),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        reads, writes = Signal(), Signal()
        # Cycles until a bank may be closed, and until the pins are free, less one.
        recovers = Signal(range(-1, self._cycles.wr), init=-1)
        clears = Signal(range(-1, self._clear_cycles), init=-1)
        column = Signal(self._chip.column_bits)
        read_ends, write_ends = self._read(m, reads, column), self._write(m, writes, column)
        m.d.comb += self.done.eq(~reads & ~writes & (recovers < 0))
        m.d.sync += [recovers.eq(recovers - (recovers >= 0)), clears.eq(clears - (clears >= 0))]
        with m.If(reads):
            m.d.sync += clears.eq(self._clear_cycles - 1)
        with m.If(writes):
            m.d.sync += recovers.eq(self._cycles.wr - 1)

        # A write waits until all is read; a read follows whatever came before at once.
        idle = ~reads & ~writes
        m.d.comb += self.i.ready.eq(
            Mux(self.i.p.write, idle & (clears < 0), idle | read_ends | write_ends))
        with m.If(read_ends):
            m.d.sync += reads.eq(0)
        with m.If(write_ends):
            m.d.sync += writes.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [reads.eq(~self.i.p.write), writes.eq(self.i.p.write),
                         self.used.eq(self.i.p.bank), column.eq(self.i.p.column)]
        return m

    def _read(self, m, reads, column) -> Value:
        """Ask for bursts; return whether the last cycle of the last one is now."""
        first, last = Signal(IN_BURST), Signal(IN_BURST)
        left, final = Signal.like(self.i.p.bursts), Signal()        # the burst is the last one
        word, moves, ends = Signal(IN_BURST), Signal(), Signal()
        m.d.comb += [
            moves.eq(reads & ((word != 0) | self.room)),
            self.wanted.eq(moves & (word >= first) & (~final | (word <= last))),
        ]
        # What others wait for is known a cycle ahead: a burst that has begun goes on.
        m.d.sync += ends.eq(moves & (word == BURST - 2) & final)
        with m.If(moves):
            m.d.sync += word.eq(word + 1)
            with m.If(word == 0):
                m.d.comb += [self.command.eq(Command.READ),
                             self.address.eq(column & -BURST)]
        with m.If(word == BURST - 1):
            m.d.sync += [column.eq(column + BURST), left.eq(left - 1), final.eq(left == 1),
                         first.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [left.eq(self.i.p.bursts), final.eq(self.i.p.bursts == 0),
                         first.eq(self.i.p.column), last.eq(self.i.p.last)]
        return ends

    def _write(self, m, writes, column) -> Value:
        """Write the words of a beat, one in each cycle; return whether the last one is now."""
        size = self._chip.word_bits
        words, left = Signal(size * self._words), Signal(range(max(2, self._words)))
        m.d.comb += self.o.eq(words[:size])
        with m.If(writes):
            m.d.comb += [self.command.eq(Command.WRITE), self.address.eq(column)]
            m.d.sync += [column.eq(column + 1), words.eq(words >> size), left.eq(left - 1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [words.eq(self.i.p.data), left.eq(self._words - 1)]
        return writes & (left == 0)
