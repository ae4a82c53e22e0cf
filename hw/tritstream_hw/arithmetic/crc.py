"""CRC-32 of the bytes that pass."""

import collections
import functools
import itertools

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32", "crc_after"]

BITS = 32
ONES = (1 << BITS) - 1
POLYNOMIAL = 0xEDB8_8320        # of ISO-HDLC, which is zlib's, the lowest power in the highest bit
TERMS = 4                       # that a LUT adds up


def _after(remainder: int, count: int) -> int:
    """Return a remainder after `count` more bits, all 0."""
    for _ in range(count):
        remainder = remainder >> 1 ^ (POLYNOMIAL if remainder & 1 else 0)
    return remainder


@functools.cache
def _sums(count: int) -> tuple[list[list[int]], list[tuple[int, ...]]]:
    """Return which bits each bit of a remainder after `count` more, all 0, is the sum of.

    Over and over, as many terms as a LUT takes, and most sums have, are made a bit of their own: a
    quarter less LUTs than synthesis finds by itself. These come second, their numbers behind those
    of the remainder.
    """
    rows = [{place for place in range(BITS) if _after(1 << place, count) >> row & 1}
            for row in range(BITS)]
    common = []
    while True:
        found = collections.Counter(terms for row in rows
                                    for terms in itertools.combinations(sorted(row), TERMS))
        terms, times = max(found.items(), key=lambda item: item[1], default=((), 0))
        if times < 2:
            return [sorted(row) for row in rows], common
        for row in rows:
            if row.issuperset(terms):
                row -= {*terms}
                row.add(BITS + len(common))
        common.append(terms)


def crc_after(m: Module, value: Value, word: Value, *, name: str) -> Value:
    """Return the CRC-32 behind one more word, combinationally.

    Parameters
    ----------
    m : Module
        Where what rows of the matrix have in common is added up.
    value : Value
        `zlib.crc32` of what came before, 32 bits.
    word : Value
        8, 16 or 32 bits, the lowest byte first.
    name : str
        Of the signals.
    """
    added = Signal(BITS, name=name)
    m.d.comb += added.eq(value ^ word)
    rows, common = _sums(len(word))
    bits = list(added)
    for number, terms in enumerate(common):
        bits.append(Signal(name=f"{name}_{number}"))
        m.d.comb += bits[-1].eq(Cat(bits[term] for term in terms).xor())
    sums = Cat(Cat(bits[term] for term in row).xor() for row in rows)
    return sums ^ _after(ONES, len(word)) ^ ONES


class Crc32(wiring.Component):
    """Running CRC-32 over words of one to four bytes, one or several per cycle.

    There may be several running ones, to each of which words are added in turn. The value is that
    of `zlib.crc32` over the words taken since the last `clear`, lowest byte first. It is that of no
    bytes, 0, after a reset.

    What is known to be as wide as the remainder is added to it before the matrix of the CRC is
    applied, not behind one of its own, and what rows of that have in common is added up once:
    `amaranth.lib.crc`, which has to serve any width, takes half as many LUTs again for bytes, and
    twice as many for words of four.

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
        before = self.value[self.stream]
        following = before & ~self.clear.bit_select(self.stream, 1).replicate(BITS)
        for n, valid in enumerate(self.valid):
            # What is only cleared begins at 0; of several words, some may be left out.
            left_out = following if len(self.valid) > 1 else 0
            word = self.data.word_select(n, self._data_bits)
            following = Mux(valid, crc_after(m, following, word, name=f"added_{n}"), left_out)
        for n, value in enumerate(self.value):
            mine = self.stream == n
            with m.If(self.clear[n] | (mine & self.valid.any())):
                m.d.sync += value.eq(Mux(mine, following, 0))
        return m
