"""Sequential left shifter: by a distance, or until the top bit is set."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Shifter"]

_STEPS = 16, 4, 1


class Shifter(wiring.Component):
    """Shifts by 16, 4 or 1 bits per cycle: at most :py:`width // 16 + 8` cycles.

    Parameters
    ----------
    width : int
        Bits of the number.

    Members
    -------
    start : :py:`In(1)`
        Strobe: take the operands. Drops what is under way.
    i : :py:`In(width)`
        Number; bits shifted out are lost.
    normalise : :py:`In(1)`
        Shift until the top bit is set, or :py:`width` places.
    distance : :py:`In(range(width + 1))`
        Places, or :py:`width` if `normalise` is to count them.
    o : :py:`Out(width)`
        The number shifted so far.
    left : :py:`Out(range(width + 1))`
        Places that remain. When settled, the length in bits of a number that was normalised, and
        else 0.
    settled : :py:`Out(1)`
        The shift has ended; goes down in the cycle after `start`. Registered, because much depends
        on it.
    """

    def __init__(self, width: int):
        super().__init__({
            "start":     In(1),
            "i":         In(width),
            "normalise": In(1),
            "distance":  In(range(width + 1)),
            "o":         Out(width),
            "left":      Out(range(width + 1)),
            "settled":   Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()

        # The operands are registered first: they are made from much, and the shift is long enough.
        # Meanwhile `o` is 0, and the number is nothing but in the cycle behind, so that all that
        # may come next is simply joined.
        normalise, loads = Signal(), Signal()
        number, distance = Signal.like(self.i), Signal.like(self.distance)
        m.d.sync += [loads.eq(self.start), number.eq(Mux(self.start, self.i, 0))]
        with m.If(self.start):
            m.d.sync += [distance.eq(self.distance), normalise.eq(self.normalise)]

        shifted, remaining = Signal.like(self.o), Signal.like(self.left)
        moves = Signal()
        m.d.sync += self.settled.eq(~self.start & ~loads & ~moves)
        for n, step in enumerate(_STEPS):
            possible = (self.left >= step) & ~(normalise & self.o[-step:].any())
            with m.If(possible) if n == 0 else m.Elif(possible):
                m.d.comb += [shifted.eq(self.o << step), moves.eq(1),
                             remaining.eq(self.left - step)]

        # One enable around it all: the flip-flops have that for free, as they have the reset.
        with m.If(self.start):
            m.d.sync += self.o.eq(0)
        with m.Elif(loads | moves):
            m.d.sync += self.o.eq(shifted | number)
        with m.If(loads | moves):
            m.d.sync += self.left.eq(Mux(loads, distance, remaining))
        return m
