"""CRC-32 of the bytes that pass."""

from amaranth import *
from amaranth.lib import data, wiring
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
    """Running CRC-32 over words of one to four bytes, one or several per cycle.

    There may be several running ones, to each of which words are added in turn. The value is that
    of `zlib.crc32` over the words taken since the last `clear`, lowest byte first. It is that of no
    bytes, 0, after a reset.

    What is known to be as wide as the remainder is added to it before the matrix of the CRC is
    applied, not behind one of its own: `amaranth.lib.crc`, which has to serve any width, takes half
    as many LUTs again.

    Parameters
    ----------
    data_bits : int
        Width of a word: 8, 16 or 32.
    words : int
        Words per cycle at most.
    streams : int
        Running CRCs.

    Members
    -------
    stream : :py:`In(range(streams))`
        Whose words they are.
    data : :py:`In(words * data_bits)`
        Words, the first in the lowest bits.
    valid : :py:`In(words)`
        Which of them to take.
    clear : :py:`In(streams)`
        Start again, with what is taken of `data`.
    value : :py:`Out(data.ArrayLayout(32, streams))`
        One cycle later.
    """

    def __init__(self, *, data_bits: int, words: int = 1, streams: int = 1):
        self._data_bits = data_bits
        super().__init__({"stream": In(range(streams)), "data": In(words * data_bits),
                          "valid": In(words), "clear": In(streams),
                          "value": Out(data.ArrayLayout(BITS, streams))})

    def elaborate(self, platform):
        m = Module()
        streams = len(self.clear)
        remainders = Signal(data.ArrayLayout(BITS, streams), init=[(1 << BITS) - 1] * streams)
        following = remainders[self.stream] | self.clear.bit_select(self.stream, 1).replicate(BITS)
        for n, valid in enumerate(self.valid):
            word = self.data.word_select(n, self._data_bits)
            following = Mux(valid, self._step(m, following, word, name=f"added_{n}"), following)
        for n, remainder in enumerate(remainders):
            mine = self.stream == n
            m.d.comb += self.value[n].eq(~remainder)
            with m.If(self.clear[n] | (mine & self.valid.any())):
                m.d.sync += remainder.eq(Mux(mine, following, -1))
        return m

    def _step(self, m, remainder, word, *, name: str) -> Value:
        """Return the remainder after one more word."""
        added = Signal(BITS, name=name)
        m.d.comb += added.eq(remainder ^ word)
        return Cat(
            Cat(bit for place, bit in enumerate(added)
                if _after(1 << place, self._data_bits) >> row & 1).xor() for row in range(BITS))
