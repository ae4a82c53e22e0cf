"""A DDR3 SDRAM in simulation: LiteDRAM's model of one, held to the times of its data sheet."""

import collections

from amaranth import *
from amaranth.lib.wiring import In, Out

from tritstream.ddr3.levelling import LANES
from tritstream.ddr3.registers import Command
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.ddr3.core import CYCLES_PER_BURST, Ddr3Core, core_verilog

__all__ = ["Ddr3Times", "ModelledCore", "packed"]

MOST_OWED = 9               # refreshes: eight may be postponed
PHASES = CYCLES_PER_BURST   # cycles of the chip in one of the controller, and edges: 2 x 2 x 2
WINDOW_BITS = 8             # of a byte lane, as the model has them
PINS = 4                    # of a command: /WE, /CAS, /RAS, /CS
AUTO = ALL = 1 << 10        # of an address: of READ and WRITE, of PRECHARGE
LONG_AGO = -1 << 40


class ModelledCore(Ddr3Core):
    """A controller with LiteDRAM's model of a chip, which holds data and has no times.

    Parameters
    ----------
    chip : Ddr3Chip
        The chip. What it holds takes twice its size of this machine's memory.

    Members
    -------
    commands : :py:`Out(...)`
        What the chip is told, see `Ddr3Times`.
    windows : :py:`In(WINDOW_BITS * lanes)`
        Where each byte lane reads right: bitslip, first and last delay, from the lowest bits on.
    """

    def __init__(self, chip: Ddr3Chip):
        super().__init__(chip, {"commands": Out(PHASES * Ddr3Times.width(chip)),
                                "windows": In(WINDOW_BITS * LANES)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self.instance(
            ResetSignal(allow_reset_less=True), o_commands=self.commands,
            i_windows=self.windows)
        return m

    @staticmethod
    def verilog(chip: Ddr3Chip, clock_hz: int) -> str:
        """Return the module that is instantiated."""
        return core_verilog(chip, clock_hz, simulated=True)


def packed(windows) -> int:
    """Return what stands at the port `windows` of a `ModelledCore`."""
    return sum((window.bitslip | window.first << 2 | window.last << 5) << WINDOW_BITS * lane
               for lane, window in enumerate(windows))


class _Bank:
    """What a bank is doing; times in cycles of the chip."""

    def __init__(self):
        self.opens = False
        self.activated = self.precharged = self.written = self.asked = LONG_AGO


class Ddr3Times:
    """Holds the commands of a controller to the times of a chip; nothing is said of its start.

    Parameters
    ----------
    chip : Ddr3Chip
        Its times.
    clock_hz : int
        Of the controller.
    """

    def __init__(self, chip: Ddr3Chip, clock_hz: int):
        self._chip = chip
        self._clock_hz = PHASES * clock_hz
        self._banks = [_Bank() for _ in range(1 << chip.bank_bits)]
        self._activated = collections.deque([LONG_AGO] * 4, maxlen=4)
        self._asked = self._written = self._refreshed = self._calibrated = LONG_AGO
        self._owed = 0.0            # refreshes that should have been, less those that were
        self.cycle = -1
        self.refreshes = 0
        self._obey = {
            Command.ACTIVATE: self._activate, Command.PRECHARGE: self._precharge,
            Command.REFRESH: self._refresh, Command.CALIBRATE: self._calibrate,
            Command.CS | Command.CAS: self._read,
            Command.CS | Command.CAS | Command.WE: self._write,
        }

    @staticmethod
    def width(chip: Ddr3Chip) -> int:
        """Return how many bits a command has: pins, bank, address."""
        return PINS + chip.bank_bits + max(chip.row_bits, chip.column_bits)

    def step(self, commands: int):
        """See the commands of a cycle of the controller, that of phase 0 first.

        Raises
        ------
        AssertionError
            A time is not kept.
        """
        width = self.width(self._chip)
        for _ in range(PHASES):
            self.tell(*self._parts(commands & (1 << width) - 1))
            commands >>= width

    def tell(self, command: Command, bank: int = 0, address: int = 0):
        """See the command of a cycle of the chip; `CS` alone, or missing, is none."""
        self.cycle += 1
        self._owed += 1e9 / self._clock_hz / self._chip.refi
        self._expect(self._owed < MOST_OWED, "refresh is late")
        if Command.CS in command and command != Command.CS:
            self._expect(command in self._obey, f"there is no command {command!r}")
            self._apart(self._refreshed, 0, self._chip.rfc, "tRFC")
            self._apart(self._calibrated, *self._chip.zqcs, "tZQCS")
            self._obey[command](self._banks[bank], address)

    def _parts(self, bits: int) -> tuple[Command, int, int]:
        we, cas, ras, cs = (~bits >> pin & 1 for pin in range(PINS))
        command = Command.CS * cs | Command.WE * we | Command.CAS * cas | Command.RAS * ras
        bits >>= PINS
        return Command(command), bits % len(self._banks), bits >> self._chip.bank_bits

    def _expect(self, kept: bool, rule: str):
        assert kept, f"cycle {self.cycle} of the chip: {rule}"

    def _apart(self, since: int, cycles: int, nanoseconds: float, rule: str):
        """Both have to have passed."""
        passed = self.cycle - since
        time = passed * 1e9 / self._clock_hz
        self._expect(passed >= cycles and time >= nanoseconds - 1e-6,
                     f"{rule} is {passed} cycles, {time:.1f} ns")

    def _all_closed(self):
        for bank in self._banks:
            self._expect(not bank.opens, "a row is open")
            self._apart(bank.precharged, 0, self._chip.rp, "tRP")

    def _activate(self, bank, row):
        self._expect(not bank.opens, "the row before is still open")
        self._apart(bank.precharged, 0, self._chip.rp, "tRP")
        self._apart(self._activated[-1], *self._chip.rrd, "tRRD")
        self._apart(self._activated[0], 0, self._chip.faw, "tFAW")
        self._activated.append(self.cycle)
        bank.opens, bank.activated = True, self.cycle

    def _column(self, bank):
        self._expect(bank.opens, "no row is open")
        self._apart(bank.activated, 0, self._chip.rcd, "tRCD")
        self._apart(max(self._asked, self._written), self._chip.ccd_cycles, 0, "tCCD")

    def _read(self, bank, address):
        self._column(bank)
        cycles, nanoseconds = self._chip.wtr
        self._apart(self._written + self._write_cycles, cycles, nanoseconds, "tWTR")
        self._asked = bank.asked = self.cycle
        if address & AUTO:
            self._close(bank)

    def _write(self, bank, address):
        self._column(bank)
        turns = self._chip.cas_latency + self._chip.ccd_cycles + 2 - self._chip.write_latency
        self._apart(self._asked, turns, 0, "READ to WRITE")
        self._written = bank.written = self.cycle
        if address & AUTO:
            self._close(bank)

    @property
    def _write_cycles(self) -> int:
        """From WRITE to the end of its burst."""
        return self._chip.write_latency + self._chip.burst // 2

    def _close(self, bank):
        """Let the chip close a row itself, as early as it may."""
        def later(since: int, cycles: int, nanoseconds: float) -> int:
            return since + max(cycles, -int(-nanoseconds * self._clock_hz // 1e9))

        bank.opens = False
        bank.precharged = max(
            later(bank.activated, 0, self._chip.ras), later(bank.asked, *self._chip.rtp),
            later(bank.written + self._write_cycles, 0, self._chip.wr))

    def _precharge(self, bank, address):
        for one in self._banks if address & ALL else [bank]:
            if one.opens:
                self._apart(one.activated, 0, self._chip.ras, "tRAS")
                self._apart(one.asked, *self._chip.rtp, "tRTP")
                self._apart(one.written + self._write_cycles, 0, self._chip.wr, "tWR")
                one.opens, one.precharged = False, self.cycle

    def _refresh(self, *_):
        self._all_closed()
        self._refreshed = self.cycle
        self._owed -= 1
        self.refreshes += 1

    def _calibrate(self, *_):
        self._all_closed()
        self._calibrated = self.cycle
