"""Rows of an SDR SDRAM: opened before they are needed."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.sdr.chip import SdrChip, SdrCycles
from tritstream_hw.memory.sdr.pads import ALL_BANKS, Command
from tritstream_hw.memory.sdr.segments import segment_layout
from tritstream_hw.memory.sdr.timer import Timer
from tritstream_hw.memory.sdr.upkeep import Upkeep

__all__ = ["Rows"]


class Rows(wiring.Component):
    """Offers segments whose rows are open.

    While one segment is read or written, the row of the next is opened. `Upkeep` waits for the end
    of what has been offered.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    cycles : SdrCycles
        Its times.
    beat_bytes : int
        `P`.

    Members
    -------
    i, o : :py:`In(stream.Signature(segment_layout))`, :py:`Out(…)`
        Segments, and the same again when their rows are open.
    busy : :py:`In(1)`
        The cycle after the next is the columns': no command is given.
    taken : :py:`In(2)`
        Bank of the segment that was taken last.
    alone, done : :py:`In(1)`
        Those before it are done, and it is, too; known two cycles after it was taken.
    command : :py:`Out(Command)`
    bank, address : :py:`Out(2)`, :py:`Out(row_bits)`
        What belongs to `command`.
    """

    def __init__(self, *, chip: SdrChip, cycles: SdrCycles, beat_bytes: int):
        self._chip = chip
        self._cycles = cycles
        segment = stream.Signature(segment_layout(chip, beat_bytes))
        super().__init__({
            "i": In(segment),
            "o": Out(segment),
            "busy": In(1),
            "taken": In(chip.bank_bits),
            "alone": In(1),
            "done": In(1),
            "command": Out(Command, init=Command.NOTHING),
            "bank": Out(chip.bank_bits),
            "address": Out(chip.row_bits),
        })

    def elaborate(self, platform):
        m = Module()
        chip, cycles, segment = self._chip, self._cycles, self.i.p
        is_open = Signal(1 << chip.bank_bits)
        rows = Array(Signal(chip.row_bits, name=f"row_{n}") for n in range(len(is_open)))
        waits, active = self._follow(m, is_open, rows)
        m.submodules.upkeep = upkeep = Upkeep(chip=chip, cycles=cycles)

        # A flip-flop for each state, and commands decided on by what has been known since the cycle
        # before: next states that depend on much would be the longest path of the design.
        waiting = Signal(init=1)
        compares, chooses, closes, opens, starts, offers = (
            Signal(name=name)
            for name in ("compares", "chooses", "closes", "opens", "starts", "offers"))
        row, opened, hit = Signal(chip.row_bits), Signal(), Signal()
        begins, free, closable, now = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            begins.eq(waiting & self.i.valid & ~upkeep.wants),
            now.eq(free & (opens | (closes & closable))),
            self.o.valid.eq(offers & waits.over),
            self.i.ready.eq(self.o.valid & self.o.ready),
            self.o.payload.eq(self.i.payload),
        ]
        m.d.sync += [
            waiting.eq((waiting & ~begins) | self.i.ready),
            compares.eq(begins),
            chooses.eq(compares),
            closes.eq((chooses & ~hit & opened) | (closes & ~now)),
            opens.eq((chooses & ~hit & ~opened) | (closes & now) | (opens & ~now)),
            starts.eq(opens & now),                     # the timer does
            offers.eq((chooses & hit) | starts | (offers & ~self.i.ready)),
            row.eq(rows[segment.bank]),
            opened.eq(is_open.bit_select(segment.bank, 1)),
            hit.eq(opened & (row == segment.row)),
            free.eq(waits.over & ~self.busy & ~now & ~upkeep.now
                    & (self.command == Command.NOTHING)),
            closable.eq(active.over & (self.done | (self.alone & (self.taken != segment.bank)))),
        ]

        # The chip is for its upkeep once `done` tells of the segment that was offered last.
        rests = Signal(2)
        m.d.comb += upkeep.free.eq(free)
        m.d.sync += [
            rests.eq(Mux(waiting & upkeep.wants, Cat(1, rests), 0)),
            upkeep.clear.eq(rests[1] & active.over & self.done),
            self.command.eq(Mux(upkeep.now, upkeep.command, Mux(
                now, Mux(opens, Command.ACTIVATE, Command.PRECHARGE), Command.NOTHING))),
            self.bank.eq(Mux(rests[1], 0, segment.bank)),
            self.address.eq(Mux(rests[1], upkeep.address, Mux(opens, segment.row, 0))),
        ]
        return m

    def _follow(self, m, is_open, rows) -> tuple[Timer, Timer]:
        """Follow the commands; return when another one may be given, and when a row closed."""
        cycles = self._cycles
        waits = Timer(m, "waits", most=max(cycles.rp, cycles.rfc, cycles.rcd, cycles.mrd))
        active = Timer(m, "active", most=cycles.ras)       # the row that was opened last
        with m.Switch(self.command):
            with m.Case(Command.MODE):
                waits.start(m, cycles.mrd)
            with m.Case(Command.REFRESH):
                waits.start(m, cycles.rfc)
            with m.Case(Command.PRECHARGE):             # of one bank: it is opened next
                with m.If(self.address == ALL_BANKS):
                    m.d.sync += is_open.eq(0)
                waits.start(m, cycles.rp)
            with m.Case(Command.ACTIVATE):
                m.d.sync += [is_open.bit_select(self.bank, 1).eq(1),
                             rows[self.bank].eq(self.address)]
                waits.start(m, cycles.rcd - 3)          # the columns take three cycles themselves
                active.start(m, cycles.ras)
        return waits, active
