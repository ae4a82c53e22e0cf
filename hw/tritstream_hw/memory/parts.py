"""Beats, a few bytes at a time."""

import functools
import math
import operator

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import played_layout

__all__ = ["Parts", "part_bytes"]


def part_bytes(beat_bytes: int) -> int:
    """Bytes of a part: four, where a beat consists of such parts."""
    return math.gcd(4, beat_bytes)


class Parts(wiring.Component):
    """Takes beats apart.

    Throughput is one part per cycle, latency one cycle. A beat is taken with its last part.

    Parameters
    ----------
    beat_bytes : int
        `P`.

    Members
    -------
    i : :py:`In(stream.Signature(played_layout(P)))`
        The beats; where one ends means nothing.
    o : :py:`Out(stream.Signature(8 * part_bytes(P)))`
        Their parts, in the order of their bytes.
    """

    def __init__(self, *, beat_bytes: int):
        self._bits = 8 * part_bytes(beat_bytes)
        self._parts = beat_bytes // part_bytes(beat_bytes)
        super().__init__({
            "i": In(stream.Signature(played_layout(beat_bytes))),
            "o": Out(stream.Signature(self._bits)),
        })

    def elaborate(self, platform):
        m = Module()
        at = Signal(self._parts, init=1)                # which part of a beat is next
        bits = self.i.p.data.as_value()
        # Added up in two halves, for whatever takes parts has an input to spare in its LUTs.
        halves = [Signal(self._bits, name=f"half_{n}") for n in range(min(2, self._parts))]
        free = ~self.o.valid | self.o.ready
        with m.If(free):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += [half.eq(functools.reduce(operator.or_, (
                bits.word_select(part, self._bits) & at[part].replicate(self._bits)
                for part in range(n, self._parts, 2)))) for n, half in enumerate(halves)]
        with m.If(free & self.i.valid):
            m.d.sync += at.eq(at.rotate_left(1))
        m.d.comb += [
            self.o.payload.eq(functools.reduce(operator.or_, halves)),
            self.i.ready.eq(at[-1] & free),
        ]
        return m
