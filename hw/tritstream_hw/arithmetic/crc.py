"""CRC-32 of the bytes that pass."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32"]

BITS = 32
POLYNOMIAL = 0xEDB8_8320        # of ISO-HDLC, which is zlib's, the lowest power in the highest bit


def _after(remainder: int, count: int) -> int:
    """Return a remainder after `count` more bits, all 0."""
    for _ in range(count):
        remainder = remainder >> 1 ^ (POLYNOMIAL if remainder & 1 else 0)
    return remainder


class Crc32(wiring.Component):
    """Running CRC-32 over words of one to four bytes, one word per cycle.

    The value is that of `zlib.crc32` over the words taken since the last `clear`, lowest byte
    first. It is that of no bytes, 0, after a reset.

    What is known to be as wide as the remainder is added to it before the matrix of the CRC is
    applied, not behind one of its own: `amaranth.lib.crc`, which has to serve any width, takes half
    as many LUTs again.

    Parameters
    ----------
    data_bits : int
        Width of a word: 8, 16 or 32.

    Members
    -------
    data : :py:`In(data_bits)`
        A word.
    valid : :py:`In(1)`
        Take it.
    clear : :py:`In(1)`
        Start again, with `data` as the first word if `valid`.
    value : :py:`Out(32)`
        One cycle later.
    """

    def __init__(self, *, data_bits: int):
        super().__init__({"data": In(data_bits), "valid": In(1), "clear": In(1),
                          "value": Out(BITS)})

    def elaborate(self, platform):
        m = Module()
        remainder, added = Signal(BITS, init=-1), Signal(BITS)
        m.d.comb += [
            added.eq((remainder | self.clear.replicate(BITS)) ^ self.data),
            self.value.eq(~remainder),
        ]
        count = len(self.data)
        with m.If(self.valid):
            m.d.sync += remainder.eq(Cat(
                Cat(bit for place, bit in enumerate(added) if _after(1 << place, count) >> row & 1)
                .xor() for row in range(BITS)))
        with m.Elif(self.clear):
            m.d.sync += remainder.eq(-1)
        return m
