"""What keeps an SDR SDRAM alive: its start, and refresh."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.sdr.chip import SdrChip, SdrCycles
from tritstream_hw.memory.sdr.pads import ALL_BANKS, Command, mode_of
from tritstream_hw.memory.sdr.timer import Timer

__all__ = ["AT_START", "Upkeep"]

AT_START = 8
"""Refreshes before the mode is set."""

MOST_DUE = 15               # that wait for a segment, which takes less time than one interval


class Upkeep(wiring.Component):
    """Starts the chip, and refreshes it, between segments.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    cycles : SdrCycles
        Its times.

    Members
    -------
    wants : :py:`Out(1)`
        No segment shall be begun.
    clear : :py:`In(1)`
        None is, and all rows may be closed.
    free : :py:`In(1)`
        A command may be decided on in this cycle.
    now : :py:`Out(1)`
        One is.
    command, address : :py:`Out(Command)`, :py:`Out(row_bits)`
        Which one; of bank 0.
    """

    def __init__(self, *, chip: SdrChip, cycles: SdrCycles):
        self._chip = chip
        self._cycles = cycles
        super().__init__({
            "wants": Out(1, init=1),
            "clear": In(1),
            "free": In(1),
            "now": Out(1),
            "command": Out(Command),
            "address": Out(chip.row_bits),
        })

    def elaborate(self, platform):
        m = Module()
        power_up = self._cycles.power_up
        powers_up = Timer(m, "powers_up", most=power_up + 1, init=power_up)
        served, configured = Signal(), Signal()
        due = self._count(m, served)
        with m.FSM(init="Power up"):
            with m.State("Power up"):
                with m.If(powers_up.over):
                    m.next = "Close all"
            with m.State("Rest"):
                with m.If(due != 0):
                    m.d.sync += self.wants.eq(1)
                    m.next = "Close all"
            with m.State("Close all"):
                m.d.comb += [self.command.eq(Command.PRECHARGE), self.address.eq(ALL_BANKS),
                             self.now.eq(self.free & self.clear)]
                with m.If(self.now):
                    m.next = "Refresh"
            with m.State("Refresh"):
                m.d.comb += [self.command.eq(Command.REFRESH), self.now.eq(self.free)]
                with m.If(self.now):
                    m.next = "Refreshed"
            with m.State("Refreshed"):
                m.d.comb += served.eq(1)
                with m.If(due != 1):
                    m.next = "Refresh"
                with m.Elif(configured):
                    m.d.sync += self.wants.eq(0)
                    m.next = "Rest"
                with m.Else():
                    m.next = "Configure"
            with m.State("Configure"):
                m.d.comb += [self.command.eq(Command.MODE), self.address.eq(mode_of(self._chip)),
                             self.now.eq(self.free)]
                with m.If(self.now):
                    m.d.sync += [configured.eq(1), self.wants.eq(0)]
                    m.next = "Rest"
        return m

    def _count(self, m, served) -> Signal:
        """Return how many refreshes are due, until the cycle in which one is `served`."""
        interval = Signal(range(self._cycles.refi), init=self._cycles.refi - 1)
        count, again = Signal(range(MOST_DUE + 1), init=AT_START), Signal()
        m.d.sync += [
            interval.eq(Mux(again, self._cycles.refi - 1, interval - 1)),
            again.eq(interval == 1),
        ]
        with m.If(again & ~served & (count != MOST_DUE)):
            m.d.sync += count.eq(count + 1)
        with m.If(served & ~again):
            m.d.sync += count.eq(count - 1)
        return count
