"""Sequential left shifter: by a distance, or until the top bits are not 0, by even places."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Shifter"]


class Shifter(wiring.Component):
    """Shifts by `coarse` or 2 bits per cycle, and leaves an odd place to its user.

    A bit of the number has two others that it may come from, and with the one that is loaded that
    is a single lookup table, which it is not with a third.

    Parameters
    ----------
    width : int
        Bits of the number.
    coarse : int
        The larger step, a power of two.

    Members
    -------
    start : :py:`In(1)`
        Strobe: take the operands. Drops what is under way.
    i : :py:`In(width)`
        Number; bits shifted out are lost.
    distance : :py:`In(range(width + 1))`
        Places at most, even.
    keeps : :py:`In(1)`
        Shift coarsely only while there are zeros at the top, before anything else was. Stable from
        the cycle after `start` until settled, as is
    stops : :py:`In(1)`
        End when one of the top two bits is set.
    o : :py:`Out(width)`
        The number shifted so far: the first time two cycles after `start`, and 0 until then.
    left : :py:`Out(range(width + 1))`
        Places that remain, even.
    settled : :py:`Out(1)`
        The shift has ended; goes down in the cycle after `start`. Registered, because much depends
        on it.
    """

    def __init__(self, width: int, *, coarse: int):
        self._coarse = coarse
        super().__init__({
            "start":    In(1),
            "i":        In(width),
            "distance": In(range(width + 1)),
            "keeps":    In(1),
            "stops":    In(1),
            "o":        Out(width),
            "left":     Out(range(width + 1)),
            "settled":  Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()

        # The number is registered first: it is made from much, and the shift is long enough.
        # Meanwhile `o` is 0, and the number is nothing but in the cycle behind, so that all that
        # may come next is simply joined.
        loads, number = Signal(), Signal.like(self.i)
        m.d.sync += [loads.eq(self.start), number.eq(Mux(self.start, self.i, 0))]

        pairs, step = self.left[1:], self._coarse
        coarse, moves = Signal(), Signal()
        # Whether a bit has ever been in the places that a coarse step moves out. A flip-flop that
        # looks a step ahead, for all of the register's flip-flops wait for it. As long as it is 0,
        # a fine step brings in two bits.
        came = Signal()
        m.d.comb += [
            coarse.eq((pairs >= step // 2) & ~(self.keeps & came)),
            moves.eq(~loads & (coarse | (pairs.any() & ~(self.stops & self.o[-2:].any())))),
        ]
        m.d.sync += [
            self.settled.eq(~self.start & ~loads & ~moves),
            came.eq(~self.start & (
                came | number[-step:].any()
                | (moves & Mux(coarse, self.o[-2 * step:-step], self.o[-2 - step:-step]).any()))),
        ]
        # One enable around it all: the flip-flops have that for free, as they have the reset.
        with m.If(self.start):
            m.d.sync += [self.o.eq(0), pairs.eq(self.distance[1:])]
        with m.Else():
            with m.If(loads | moves):
                m.d.sync += self.o.eq(Mux(coarse, self.o << step, self.o << 2) | number)
            with m.If(moves):
                m.d.sync += pairs.eq(pairs - Mux(coarse, step // 2, 1))
        return m
