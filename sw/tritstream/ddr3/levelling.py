"""Start of a DDR3 memory from the host, and when its words are taken: read levelling.

The words of each byte lane come a board's own time after they were asked for. The PHY of an ECP5
takes them at one of some bitslips, which are whole bits, and delays, which are parts of one. All
are tried, and each lane gets the middle of the delays at which it reads what was written.
"""

import dataclasses
import random
from collections.abc import Callable
from typing import Protocol

from tritstream.ddr3.registers import ADDRESS, WORDS, Command, Control
from tritstream.errors import DeviceError

__all__ = ["BITSLIPS", "CAS_LATENCY", "DELAYS", "LANES", "STARTED", "WRITE_LATENCY",
           "Access", "LevellingError", "Window", "kept", "start"]

CAS_LATENCY = 6
WRITE_LATENCY = 5
"""Cycles of the chip: what all of them can up to 400 MHz."""

LANES = 2
BITSLIPS = 4
DELAYS = 8

# A cycle of the controller is two of the chip. Commands are given in that phase in which their
# words are on time.
READ_PHASE = -CAS_LATENCY % 2
WRITE_PHASE = -WRITE_LATENCY % 2

# JESD79-3: 34 ohm to drive, 60 ohm to terminate, bursts of 8, write recovery of 5 cycles. In this
# order.
MODES = {2: WRITE_LATENCY - 5 << 3, 3: 0, 1: 0b110, 0: CAS_LATENCY - 4 << 4 | 1 << 8 | 1 << 9}
CALIBRATE_LONG = PRECHARGE_ALL = 1 << 10

RESET_SECONDS = 200e-6
WAKE_SECONDS = 500e-6
MODE_SECONDS = 10e-6        # its DLL takes 512 cycles to lock, and so does its calibration

STARTED = Control.HARDWARE | Control.CKE | Control.ODT | Control.RESET_N
"""What only a memory that was started and levelled has; a bitstream begins with `HARDWARE`."""

KEPT = "dfii_pi0_wrdata"    # where its windows stay: a word of each lane, which nothing else needs

PATTERNS = 2                # of a burst, each in a column of its own
ROW = (1 << 13) - 1         # where they are: the last row of the smallest chip, far from a model
BURST = 8


class LevellingError(DeviceError):
    """A byte lane of a DDR3 memory does not read what was written."""


class Access(Protocol):
    """How registers are reached, by the address of their first word."""

    def read(self, address: int, words: int) -> list[int]:
        """Return consecutive words."""

    def store(self, address: int, words: list[int]) -> None:
        """Write consecutive words."""


@dataclasses.dataclass(frozen=True)
class Window:
    """Where a byte lane reads what was written.

    Parameters
    ----------
    bitslip : int
        0 to 3.
    first, last : int
        Delays, of 0 to 7.
    """

    bitslip: int
    first: int
    last: int

    @property
    def delay(self) -> int:
        """The middle."""
        return (self.first + self.last) // 2

    @property
    def size(self) -> int:
        """How many delays."""
        return self.last - self.first + 1

    @property
    def margin(self) -> int:
        """Delays from the middle to the nearer end."""
        return min(self.delay - self.first, self.last - self.delay)

    def pack(self) -> int:
        """Return it as a word."""
        return int.from_bytes(bytes([self.bitslip, self.first, self.last]), "little")

    @classmethod
    def unpack(cls, word: int) -> "Window":
        """Inverse of `pack`."""
        return cls(*word.to_bytes(4, "little")[:3])


def kept(access: Access) -> tuple[Window, ...] | None:
    """Return what `start` found, if it was started since the bitstream was loaded."""
    chip = _Chip(access)
    if chip.read("dfii_control") != STARTED:
        return None
    return tuple(map(Window.unpack, access.read(ADDRESS[KEPT], LANES)))


def start(access: Access, wait: Callable[[float], None]) -> tuple[Window, ...]:
    """Start the memory, and level it; what it held is lost.

    Parameters
    ----------
    access : Access
        Its registers.
    wait : callable
        Lets so many seconds pass on the board.

    Returns
    -------
    tuple of Window
        Of each byte lane.

    Raises
    ------
    LevellingError
        A lane reads right nowhere, or not where it should.
    """
    chip = _Chip(access)
    _wake(chip, wait)
    patterns = _write_patterns(chip)
    good = {}
    for bitslip in range(BITSLIPS):
        for delay in range(DELAYS):
            chip.place(range(LANES), bitslip, delay)
            good[bitslip, delay] = chip.lanes_that_read(patterns)
    windows = tuple(_window(lane, {place for place, lanes in good.items() if lane in lanes})
                    for lane in range(LANES))
    for lane, window in enumerate(windows):
        chip.place([lane], window.bitslip, window.delay)
    if wrong := set(range(LANES)) - chip.lanes_that_read(patterns):
        raise LevellingError(f"Byte lane {min(wrong)} of the DDR3 memory does not read again what "
                             f"it read at {windows[min(wrong)]}: look at its supply, and start the "
                             "board anew.")
    access.store(ADDRESS[KEPT], [window.pack() for window in windows])
    chip.control(STARTED)
    return windows


def _wake(chip: "_Chip", wait: Callable[[float], None]) -> None:
    """Reset the chip, and set its modes."""
    for control, seconds in {Control(0): RESET_SECONDS,
                             Control.ODT | Control.RESET_N: WAKE_SECONDS,
                             Control.ODT | Control.RESET_N | Control.CKE: MODE_SECONDS}.items():
        chip.control(control)
        wait(seconds)
    for number, mode in MODES.items():
        chip.issue(0, Command.MODE, address=mode, bank=number)
    wait(MODE_SECONDS)
    chip.issue(0, Command.CALIBRATE, address=CALIBRATE_LONG)
    wait(MODE_SECONDS)


def _write_patterns(chip: "_Chip") -> list[bytes]:
    """Write random bursts; the row is refreshed whenever it is opened to be read."""
    patterns = [random.Random(n).randbytes(LANES * BURST) for n in range(PATTERNS)]
    chip.issue(0, Command.ACTIVATE, address=ROW)
    for number, pattern in enumerate(patterns):
        half = len(pattern) // 2
        for phase, part in enumerate((pattern[:half], pattern[half:])):
            chip.write(f"dfii_pi{phase}_wrdata", int.from_bytes(part, "little"))
        chip.issue(WRITE_PHASE, Command.WRITE, address=BURST * number)
    chip.issue(0, Command.PRECHARGE, address=PRECHARGE_ALL)
    return patterns


def _window(lane: int, places: set[tuple[int, int]]) -> Window:
    """Return the longest run of delays, of the first bitslip that has one so long."""
    windows = [Window(bitslip, first, last)
               for bitslip in range(BITSLIPS) for first in range(DELAYS)
               for last in range(first, DELAYS)
               if all((bitslip, delay) in places for delay in range(first, last + 1))]
    if not windows:
        raise LevellingError(f"Byte lane {lane} of the DDR3 memory reads what was written at none "
                             f"of {BITSLIPS} bitslips and {DELAYS} delays: look at its pins in the "
                             "board's file, and at its supply.")
    return max(windows, key=lambda window: window.size)


class _Chip:
    """The chip, as the registers reach it."""

    def __init__(self, access: Access):
        self._access = access

    def read(self, name: str) -> int:
        """Return what a register holds."""
        words = self._access.read(ADDRESS[name], WORDS[name])
        return sum(word << 32 * number for number, word in enumerate(words))

    def write(self, name: str, value: int) -> None:
        """Write a register."""
        self._access.store(ADDRESS[name], [value >> 32 * number & 0xFFFF_FFFF
                                           for number in range(WORDS[name])])

    def control(self, control: Control) -> None:
        """Set the pins that are no commands."""
        self.write("dfii_control", control)

    def issue(self, phase: int, command: Command, *, address: int = 0, bank: int = 0) -> None:
        """Give a command; the link takes longer than any time between two."""
        self._access.store(ADDRESS[f"dfii_pi{phase}_address"], [address, bank])
        self._access.store(ADDRESS[f"dfii_pi{phase}_command"], [command, 1])

    def place(self, lanes, bitslip: int, delay: int) -> None:
        """Choose where lanes are read: they pause meanwhile, and then all go on together."""
        self.write("dly_sel", sum(1 << lane for lane in lanes))
        for first, step, steps in (("rdly_dq_bitslip_rst", "rdly_dq_bitslip", bitslip),
                                   ("rdly_dq_rst", "rdly_dq_inc", delay)):
            self.write(first, 1)
            for _ in range(steps):
                self.write(step, 1)
        self.write("dly_sel", (1 << LANES) - 1)
        self.write("dly_sel", 0)

    def lanes_that_read(self, patterns: list[bytes]) -> set[int]:
        """Return the lanes that read all patterns, and whose strobe was seen each time."""
        good = set(range(LANES))
        self.issue(0, Command.ACTIVATE, address=ROW)
        for number, pattern in enumerate(patterns):
            self.write("burstdet_clr", 1)
            self.issue(READ_PHASE, Command.READ, address=BURST * number)
            seen = self.read("burstdet_seen")
            found = b"".join(self.read(f"dfii_pi{phase}_rddata").to_bytes(len(pattern) // 2,
                                                                          "little")
                             for phase in range(2))
            good &= {lane for lane in good
                     if seen >> lane & 1 and found[lane::LANES] == pattern[lane::LANES]}
            if not good:
                break
        self.issue(0, Command.PRECHARGE, address=PRECHARGE_ALL)
        return good
