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
        Segments whose rows are open. One is held while the one before it is read or written.
    room : :py:`In(1)`
        There is room for the words of another burst.
    command, bank, address : :py:`Out(Command)`, :py:`Out(2)`, :py:`Out(row_bits)`
        READ and WRITE.
    o : :py:`Out(word_bits)`
        Word that is written by the `command` of this cycle.
    wanted : :py:`Out(1)`
        A word of a read is asked for: each cycle of a burst stands for one of its words.
    taken : :py:`Out(2)`
        Bank of the segment that was taken last.
    alone : :py:`Out(1)`
        All segments before that are done, and their banks may be closed.
    done : :py:`Out(1)`
        That segment is, too.
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
            "bank": Out(chip.bank_bits),
            "address": Out(chip.row_bits),
            "o": Out(chip.word_bits),
            "wanted": Out(1),
            "taken": Out(chip.bank_bits),
            "alone": Out(1),
            "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        held, holds, begins = Signal.like(self.i.payload), Signal(), Signal()
        reads, writes, idle = Signal(), Signal(), Signal()
        # Cycles until a bank may be closed, and until the pins are free, less one.
        recovers = Signal(range(-1, self._cycles.wr), init=-1)
        clears = Signal(range(-1, self._clear_cycles), init=-1)
        column = Signal(self._chip.column_bits)
        read_ends = self._read(m, held, begins, reads, column)
        write_ends = self._write(m, held, begins, writes, column)
        m.d.comb += [
            idle.eq(~reads & ~writes),
            self.address.eq(Mux(writes, column, column & -BURST)),
            self.taken.eq(held.bank),
            self.alone.eq(~holds & (recovers < 0)),
            self.done.eq(self.alone & idle),
            self.i.ready.eq(~holds),
        ]
        m.d.sync += [recovers.eq(recovers - (recovers >= 0)), clears.eq(clears - (clears >= 0))]
        with m.If(reads):
            m.d.sync += clears.eq(self._clear_cycles - 1)
        with m.If(writes):
            m.d.sync += recovers.eq(self._cycles.wr - 1)

        # A write waits until all is read; a read follows another one at once.
        m.d.comb += begins.eq(holds & Mux(held.write, idle & (clears < 0), idle | read_ends))
        with m.If(read_ends):
            m.d.sync += reads.eq(0)
        with m.If(write_ends):
            m.d.sync += writes.eq(0)
        with m.If(begins):
            m.d.sync += [holds.eq(0), reads.eq(~held.write), writes.eq(held.write),
                         self.bank.eq(held.bank), column.eq(held.column)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [holds.eq(1), held.eq(self.i.p)]
        return m

    def _read(self, m, held, begins, reads, column) -> Value:
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
                m.d.comb += self.command.eq(Command.READ)
        with m.If(word == BURST - 1):
            m.d.sync += [column.eq(column + BURST), left.eq(left - 1), final.eq(left == 1),
                         first.eq(0)]
        with m.If(begins):
            m.d.sync += [left.eq(held.bursts), final.eq(held.bursts == 0),
                         first.eq(held.column), last.eq(held.last)]
        return ends

    def _write(self, m, held, begins, writes, column) -> Value:
        """Write the words of a beat, one in each cycle; return whether the last one is now."""
        size = self._chip.word_bits
        words, left = Signal(size * self._words), Signal(range(max(2, self._words)))
        m.d.comb += self.o.eq(words[:size])
        with m.If(writes):
            m.d.comb += self.command.eq(Command.WRITE)
            m.d.sync += [column.eq(column + 1), words.eq(words >> size), left.eq(left - 1)]
        with m.If(begins):
            m.d.sync += [words.eq(held.data), left.eq(self._words - 1)]
        return writes & (left == 0)
