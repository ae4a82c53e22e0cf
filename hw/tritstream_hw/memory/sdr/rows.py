"""Rows of an SDR SDRAM: opened before they are needed, and closed for refresh."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.sdr.chip import SdrChip, SdrCycles
from tritstream_hw.memory.sdr.pads import ALL_BANKS, Command, mode_of
from tritstream_hw.memory.sdr.segments import segment_layout

__all__ = ["AT_START", "Rows"]

AT_START = 8
"""Refreshes before the mode is set."""

MOST_DUE = 15               # that wait for a segment, which takes less time than one interval


class _Timer:
    """Counts down: a command is `cycles` cycles behind that with which the timer was started."""

    def __init__(self, m: Module, name: str, *, most: int, init: int = -1):
        self._count = Signal(range(-1, most), init=init, name=name)
        self.over = self._count < 0
        with m.If(~self.over):
            m.d.sync += self._count.eq(self._count - 1)

    def start(self, m: Module, cycles: int):
        m.d.sync += self._count.eq(max(cycles - 2, -1))


class Rows(wiring.Component):
    """Starts the chip, refreshes it, and offers segments whose rows are open.

    While one segment is read or written, the row of the next is opened. Refresh waits for the end
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
        This cycle is the columns': no command is given.
    used : :py:`In(2)`
        Bank of the segment that was taken last.
    done : :py:`In(1)`
        That segment is, and its bank may be closed; known two cycles after it was taken.
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
            "used": In(chip.bank_bits),
            "done": In(1),
            "command": Out(Command, init=Command.NOTHING),
            "bank": Out(chip.bank_bits),
            "address": Out(chip.row_bits),
        })

    def elaborate(self, platform):
        m = Module()
        chip, cycles = self._chip, self._cycles
        banks = 1 << chip.bank_bits
        is_open = Signal(banks)
        rows = Array(Signal(chip.row_bits, name=f"row_{n}") for n in range(banks))
        due, served = self._count_refreshes(m)
        powers_up = _Timer(m, "powers_up", most=cycles.power_up + 1, init=cycles.power_up)
        waits = _Timer(m, "waits", most=max(cycles.rp, cycles.rfc, cycles.rcd, cycles.mrd))
        active = _Timer(m, "active", most=cycles.ras)       # the row that was opened last
        free = waits.over & ~self.busy
        segment, row, opened, hit = self.i.p, Signal(chip.row_bits), Signal(), Signal()
        configured = Signal()
        m.d.comb += [
            self.command.eq(Command.NOTHING),
            self.bank.eq(segment.bank),
            self.address.eq(segment.row),
            self.o.payload.eq(self.i.payload),
        ]
        with m.FSM(init="Power up"):
            with m.State("Power up"):
                with m.If(powers_up.over):
                    m.next = "Close all"
            with m.State("Close all"):
                with m.If(free & active.over & self.done):
                    m.d.comb += [self.command.eq(Command.PRECHARGE), self.address.eq(ALL_BANKS)]
                    m.d.sync += is_open.eq(0)
                    waits.start(m, cycles.rp)
                    m.next = "Refresh"
            with m.State("Refresh"):
                with m.If(free & due):
                    m.d.comb += [self.command.eq(Command.REFRESH), served.eq(1)]
                    waits.start(m, cycles.rfc)
                with m.Elif(free & ~configured):
                    m.d.comb += [self.command.eq(Command.MODE), self.bank.eq(0),
                                 self.address.eq(mode_of(chip))]
                    m.d.sync += configured.eq(1)
                    waits.start(m, cycles.mrd)
                with m.Elif(free):
                    m.next = "Next"
            with m.State("Next"):
                m.d.sync += [row.eq(rows[segment.bank]), opened.eq(is_open.bit_select(
                    segment.bank, 1))]
                with m.If(due):
                    m.next = "Close all"
                with m.Elif(self.i.valid):
                    m.next = "Compare"
            with m.State("Compare"):
                m.d.sync += hit.eq(opened & (row == segment.row))
                m.next = "Choose"
            with m.State("Choose"):
                with m.If(hit):
                    m.next = "Offer"
                with m.Elif(opened):
                    m.next = "Close"
                with m.Else():
                    m.next = "Open"
            with m.State("Close"):
                with m.If(free & active.over & (self.done | (self.used != segment.bank))):
                    m.d.comb += [self.command.eq(Command.PRECHARGE), self.address.eq(0)]
                    waits.start(m, cycles.rp)
                    m.next = "Open"
            with m.State("Open"):
                with m.If(free):
                    m.d.comb += self.command.eq(Command.ACTIVATE)
                    m.d.sync += [is_open.bit_select(segment.bank, 1).eq(1),
                                 rows[segment.bank].eq(segment.row)]
                    waits.start(m, cycles.rcd - 2)      # the columns take two cycles themselves
                    active.start(m, cycles.ras)
                    m.next = "Offer"
            with m.State("Offer"):
                m.d.comb += [self.o.valid.eq(waits.over),
                             self.i.ready.eq(waits.over & self.o.ready)]
                with m.If(waits.over & self.o.ready):
                    m.next = "Next"
        return m

    def _count_refreshes(self, m) -> tuple[Signal, Signal]:
        """Return whether a refresh is due, and what to raise in the cycle in which it is given.

        The former is two cycles late.
        """
        interval = Signal(range(self._cycles.refi), init=self._cycles.refi - 1)
        count, served = Signal(range(MOST_DUE + 1), init=AT_START), Signal()
        due = Signal(init=1)
        again = interval == 0
        m.d.sync += due.eq(count != 0)
        m.d.sync += interval.eq(Mux(again, self._cycles.refi - 1, interval - 1))
        with m.If(again & ~served & (count != MOST_DUE)):
            m.d.sync += count.eq(count + 1)
        with m.If(served & ~again):
            m.d.sync += count.eq(count - 1)
        return due, served
