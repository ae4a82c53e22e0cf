"""An SDR SDRAM that holds data, and its controller to every time of its data sheet."""

import collections

from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.pads import ALL_BANKS, BURST, Command, mode_of

__all__ = ["SdrModel"]

MOST_OWED = 9               # refreshes: eight may be postponed


class _Bank:
    """What a bank is doing; times in cycles."""

    def __init__(self):
        self.row = None
        self.activated = self.precharged = self.written = self.asked = -1 << 40


class SdrModel:
    """The chip behind the flip-flops of the pads, a cycle at a time.

    Parameters
    ----------
    chip : SdrChip
        Its shape and times.
    clock_hz : int
        Its clock.
    """

    def __init__(self, chip: SdrChip, clock_hz: int):
        self._chip = chip
        self._nanoseconds = 1e9 / clock_hz
        self._banks = [_Bank() for _ in range(4)]
        self._cells = {}
        self._mode = None
        self.cycle = 0
        self._refreshed = self._moded = -1 << 40
        self._owed = 0.0                # refreshes that should have been, less those that were
        self._words = collections.deque([None] * BURST * 2)     # that will be driven
        self._drives = None             # since the edge before
        self.refreshes = 0
        self._obey = {
            Command.NOTHING: self._nothing, Command.MODE: self._set_mode,
            Command.REFRESH: self._refresh, Command.PRECHARGE: self._precharge,
            Command.ACTIVATE: self._activate, Command.READ: self._read,
            Command.WRITE: self._write,
        }

    def fill(self, words: dict[tuple[int, int, int], int]):
        """Put words into the cells, by bank, row and column."""
        self._cells |= words

    def step(self, command: Command, bank: int, address: int, driven: bool,
             word: int) -> int | None:
        """See the pins at an edge of the clock; return what the chip drives until the next."""
        self._expect(self._drives is None or not driven, "the data pins are driven twice")
        self._drives = self._words.popleft()
        self._words.append(None)
        self._obey[command](self._banks[bank], bank, address, driven, word)
        if self._mode is not None:
            self._owed += self._nanoseconds / self._chip.refi
            self._expect(self._owed < MOST_OWED, "refresh is late")
        self.cycle += 1
        return self._drives

    def _expect(self, kept: bool, rule: str):
        assert kept, f"cycle {self.cycle}: {rule}"

    def _apart(self, since: int, nanoseconds: float, rule: str):
        passed = (self.cycle - since) * self._nanoseconds
        self._expect(passed >= nanoseconds - 1e-6, f"{rule} is {passed:.1f} ns")

    def _all_closed(self):
        for bank in self._banks:
            self._expect(bank.row is None, "a row is open")
            self._apart(bank.precharged, self._chip.rp, "tRP")

    def _ready(self):
        self._apart(self._refreshed, self._chip.rfc, "tRFC")
        self._apart(self._moded, self._chip.mrd_cycles * self._nanoseconds, "tMRD")

    def _nothing(self, *pins):
        pass

    def _set_mode(self, bank, number, address, driven, word):
        self._ready()
        self._all_closed()
        self._expect(self.refreshes >= 2, "the mode is set before two refreshes")
        self._mode, self._moded = address, self.cycle

    def _refresh(self, *pins):
        self._ready()
        self._all_closed()
        self._refreshed = self.cycle
        self._owed -= 1
        self.refreshes += 1

    def _precharge(self, bank, number, address, driven, word):
        self._expect(self.cycle * self._nanoseconds >= self._chip.power_up or self._mode,
                     "the chip is not powered up")
        self._ready()
        for one in self._banks if address & ALL_BANKS else [bank]:
            if one.row is not None:
                self._apart(one.activated, self._chip.ras, "tRAS")
                self._apart(one.written, self._chip.wr, "tWR")
                self._expect(self.cycle - one.asked >= BURST, "a burst is cut short")
            one.row, one.precharged = None, self.cycle

    def _activate(self, bank, number, address, driven, word):
        self._ready()
        self._expect(self._mode == mode_of(self._chip), "the mode is not set")
        self._expect(bank.row is None, "the row before is still open")
        self._apart(bank.precharged, self._chip.rp, "tRP")
        self._apart(bank.activated, self._chip.ras + self._chip.rp, "tRC")
        self._expect(all(self.cycle - one.activated >= 2 for one in self._banks), "tRRD")
        bank.row, bank.activated = address, self.cycle

    def _column(self, bank, address) -> int:
        self._expect(bank.row is not None, "no row is open")
        self._apart(bank.activated, self._chip.rcd, "tRCD")
        self._expect(address < 1 << self._chip.column_bits, "there is no such column")
        return address

    def _read(self, bank, number, address, driven, word):
        column = self._column(bank, address)
        for n in range(BURST):
            place = column & -BURST | (column + n) % BURST
            self._words[self._chip.cas_latency - 2 + n] = self._cells.get(
                (number, bank.row, place), 0)
        bank.asked = self.cycle

    def _write(self, bank, number, address, driven, word):
        column = self._column(bank, address)
        self._expect(driven, "a word is written that is not driven")
        self._cells[number, bank.row, column] = word
        bank.written = self.cycle
