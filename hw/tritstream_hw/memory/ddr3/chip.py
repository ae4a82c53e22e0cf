"""DDR3 SDRAM chips: their shape, and their times."""

import dataclasses

from tritstream.ddr3.levelling import CAS_LATENCY, WRITE_LATENCY

__all__ = ["DDR3_128MB", "DDR3_512MB", "Ddr3Chip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ddr3Chip:
    """A chip of eight banks; the names of its times are JEDEC's, and all are in nanoseconds.

    Parameters
    ----------
    word_bits : int
        Width of the data bus, of one byte lane or several.
    column_bits, row_bits : int
        Of an address.
    cas_latency, write_latency : int
        Cycles from READ, and from WRITE, to its first word. The slowest chips have these at every
        clock up to 400 MHz.
    rcd, rp, ras, rfc, wr, faw, refi : float
        Times.
    rrd, wtr, rtp, zqcs : tuple of int and float
        Cycles and nanoseconds, of which the longer is meant.
    ccd_cycles : int
        READ to READ, or WRITE to WRITE: as long as a burst.
    """

    word_bits: int = 16
    column_bits: int = 10
    row_bits: int
    cas_latency: int = CAS_LATENCY
    write_latency: int = WRITE_LATENCY
    rcd: float
    rp: float
    ras: float
    rfc: float
    wr: float
    faw: float
    refi: float = 64e6 / 8192
    rrd: tuple[int, float]
    wtr: tuple[int, float] = (4, 7.5)
    rtp: tuple[int, float] = (4, 7.5)
    zqcs: tuple[int, float] = (64, 80.0)
    ccd_cycles: int = 4

    bank_bits = 3
    burst = 8

    @property
    def burst_bytes(self) -> int:
        """Bytes of a burst, the least that is read."""
        return self.burst * self.word_bits // 8

    @property
    def beat_bytes(self) -> range:
        """Bytes that it can give at a time, a burst or a half: P is one of these."""
        return range(self.burst_bytes // 2, self.burst_bytes + 1)

    @property
    def bytes(self) -> int:
        """Size of the chip."""
        return self.word_bits // 8 << self.column_bits + self.bank_bits + self.row_bits


# Data sheet of MT41K256M16 (Micron) at its speed grade 1600; LiteDRAM's own table has its refresh
# as 208 cycles of the fastest clock, which at 150 MHz is five times too long.
DDR3_512MB = Ddr3Chip(row_bits=15, rcd=13.75, rp=13.75, ras=35, rfc=260, wr=15, faw=40,
                      rrd=(4, 10))

# The least that boards carry, with times of the largest: they may carry that.
DDR3_128MB = dataclasses.replace(DDR3_512MB, row_bits=13)
