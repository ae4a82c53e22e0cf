"""A DDR3 memory as its registers show it: each byte lane reads right in a window of its own."""

import dataclasses
from collections.abc import Callable

from tritstream.ddr3.levelling import (
    BITSLIPS,
    DELAYS,
    LANES,
    READ_PHASE,
    STARTED,
    WRITE_PHASE,
)
from tritstream.ddr3.registers import ADDRESS, WORDS, Command, Control

__all__ = ["Ddr3Twin"]

PHASES = 2
BYTES = 8                   # of a burst, in each lane
PLACES = {ADDRESS[name] + word: (name, word) for name in WORDS for word in range(WORDS[name])}


@dataclasses.dataclass
class _Lane:
    """Where a byte lane is read."""

    bitslip: int = 0
    delay: int = 0


class Ddr3Twin:
    """Controller, PHY and chip, to be started and levelled.

    A chip that was not started as its data sheet wants reads nothing.

    Parameters
    ----------
    windows : iterable of Window or None
        Where the lanes read right; None: nowhere.
    now : callable or None
        Returns the seconds that have passed; None: as many as `wait` was told.

    Attributes
    ----------
    seconds : float
        That `wait` was told.
    starts : int
        How often the chip was reset.
    modes : dict of int to int
        Mode registers.
    """

    def __init__(self, windows, now: Callable[[], float] | None = None):
        self.windows = list(windows)
        self._now = (lambda: self.seconds) if now is None else now
        self.lanes = [_Lane() for _ in range(LANES)]
        self.seconds = 0.0
        self.starts = 0
        self.modes = {}
        self.control = Control.HARDWARE
        self._words = dict.fromkeys(PLACES, 0)
        self._since = self._now()   # when the pins that are no commands were as they are
        self._reset = self._awake = self._calibrated = False
        self._row = False
        self._columns = {}

    @property
    def started(self) -> bool:
        """Whether its controller has a memory that is started."""
        return self._calibrated and self.control == STARTED

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    def read(self, address: int, words: int) -> list[int]:
        """Return consecutive words."""
        values = {"dfii_control": int(self.control)}
        return [values.get(PLACES[place][0], self._words[place])
                for place in range(address, address + words)]

    def store(self, address: int, words: list[int]) -> None:
        """Write consecutive words."""
        for place, word in enumerate(words, address):
            self._words[place] = word
            name, _ = PLACES[place]
            if name == "dfii_control":
                self._set_control(Control(word))
            elif name.endswith("command_issue"):
                self._issue(int(name[len("dfii_pi")]))
            elif name == "burstdet_clr":
                self._words[ADDRESS["burstdet_seen"]] = 0
            elif name.startswith("rdly"):
                self._place(name)

    def _value(self, name: str) -> int:
        return sum(self._words[ADDRESS[name] + word] << 32 * word for word in range(WORDS[name]))

    def _set_control(self, control: Control) -> None:
        before, self.control = self.control, control
        passed = self._now() - self._since
        self._since = self._now()
        if Control.RESET_N not in control:
            self.starts += 1
            self._awake = self._calibrated = self._row = False
            self.modes = {}
        if Control.RESET_N in control and Control.RESET_N not in before:
            self._reset = passed >= 200e-6 * (1 - 1e-9)
        if Control.CKE in control and Control.CKE not in before:
            self._awake = self._reset and passed >= 500e-6 * (1 - 1e-9)

    def _place(self, name: str) -> None:
        chosen = self._value("dly_sel")
        for number, lane in enumerate(self.lanes):
            if chosen >> number & 1:
                lane.bitslip = {"rdly_dq_bitslip_rst": 0, "rdly_dq_bitslip": lane.bitslip + 1}.get(
                    name, lane.bitslip) % BITSLIPS
                lane.delay = {"rdly_dq_rst": 0, "rdly_dq_inc": lane.delay + 1}.get(
                    name, lane.delay) % DELAYS

    def _issue(self, phase: int) -> None:
        command = Command(self._value(f"dfii_pi{phase}_command"))
        address, bank = (self._value(f"dfii_pi{phase}_{name}") for name in ("address", "baddress"))
        assert self._awake and Control.HARDWARE not in self.control, "the chip is not awake"
        match command:
            case Command.MODE:
                self.modes[bank] = address
            case Command.CALIBRATE:
                self._calibrated = set(self.modes) == {0, 1, 2, 3} and bool(address >> 10 & 1)
            case Command.ACTIVATE:
                assert self._calibrated and not self._row, "no row can be opened"
                self._row = True
            case Command.PRECHARGE:
                self._row = False
            case Command.WRITE:
                assert self._row and phase == WRITE_PHASE, "a write at a wrong time"
                self._columns[address] = b"".join(
                    self._value(f"dfii_pi{part}_wrdata").to_bytes(BYTES, "little")
                    for part in range(PHASES))
            case Command.READ:
                assert self._row and phase == READ_PHASE, "a read at a wrong time"
                self._take(self._columns[address])
            case _:
                raise AssertionError(f"there is no command {command!r}")

    def _take(self, burst: bytes) -> None:
        """Take a burst, each lane where it is read: bits early or late, or nothing."""
        taken = bytearray(len(burst))
        for number, (lane, window) in enumerate(zip(self.lanes, self.windows, strict=True)):
            if window is None or not window.first <= lane.delay <= window.last:
                continue
            self._words[ADDRESS["burstdet_seen"]] |= 1 << number
            late = lane.bitslip - window.bitslip
            bits = burst[number::LANES]
            taken[number::LANES] = bits[-late:] + bits[:-late] if late else bits
        half = len(taken) // PHASES
        for phase in range(PHASES):
            value = int.from_bytes(taken[half * phase:half * (phase + 1)], "little")
            for word in range(2):
                self._words[ADDRESS[f"dfii_pi{phase}_rddata"] + word] = (
                    value >> 32 * word & 0xFFFF_FFFF)
