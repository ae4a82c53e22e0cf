"""SDR SDRAM chips: their shape, and their times."""

import dataclasses

from tritstream.formats import UNIT

__all__ = ["SDR_32MB", "SDR_8MB", "SdrChip", "SdrCycles"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SdrCycles:
    """Times of a chip at one clock, in cycles; the names are JEDEC's.

    Parameters
    ----------
    rcd : int
        ACTIVATE to READ or WRITE.
    rp : int
        PRECHARGE to ACTIVATE or REFRESH.
    ras : int
        ACTIVATE to PRECHARGE of the same bank, at least.
    rfc : int
        REFRESH to any other command.
    wr : int
        Last written word to PRECHARGE.
    mrd : int
        LOAD MODE to any other command.
    refi : int
        REFRESH to REFRESH, on average, at most.
    power_up : int
        Stable clock to the first command.
    """

    rcd: int
    rp: int
    ras: int
    rfc: int
    wr: int
    mrd: int
    refi: int
    power_up: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SdrChip:
    """A chip of four banks; all times in nanoseconds.

    Parameters
    ----------
    word_bits : int
        Width of the data bus.
    column_bits, row_bits : int
        Of an address.
    cas_latency : int
        Cycles from READ to its first word.
    """

    word_bits: int = 16
    column_bits: int
    row_bits: int
    cas_latency: int = 3
    rcd: float
    rp: float
    ras: float
    rfc: float
    wr: float
    refi: float
    power_up: float = 200_000.0
    mrd_cycles: int = 2

    bank_bits = 2

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return self.word_bits // 8

    @property
    def beat_bytes(self) -> range:
        """Bytes that it can give at a time, in a burst or several: P is one of these."""
        return range(self.word_bytes, UNIT + 1)

    @property
    def bytes(self) -> int:
        """Size of the chip."""
        return self.word_bytes << self.column_bits + self.bank_bits + self.row_bits

    def cycles(self, clock_hz: int) -> SdrCycles:
        """Return the times at a clock."""
        def up(nanoseconds: float) -> int:
            return -int(-nanoseconds * clock_hz // 1e9)

        return SdrCycles(rcd=up(self.rcd), rp=up(self.rp), ras=up(self.ras), rfc=up(self.rfc),
                         wr=max(2, up(self.wr)), mrd=self.mrd_cycles,
                         refi=int(self.refi * clock_hz // 1e9), power_up=up(self.power_up))


# The slowest of the chips of 32 MB with 16 bits that boards carry, at speed grade 7: data sheets of
# AS4C16M16SA (Alliance), IS42S16160J (ISSI), MT48LC16M16A2 (Micron) and W9825G6KH (Winbond).
SDR_32MB = SdrChip(column_bits=9, row_bits=13, rcd=21, rp=21, ras=45, rfc=70, wr=15,
                   refi=64e6 / 8192)

# The die of 8 MB with 32 bits in the package of a GW2AR-18, of which Gowin gives the shape and the
# clock, 166 MHz: times as slow as those of the others, and refresh as all dies of this shape have.
SDR_8MB = SdrChip(word_bits=32, column_bits=8, row_bits=11, rcd=21, rp=21, ras=45, rfc=70, wr=15,
                  refi=64e6 / 4096)
