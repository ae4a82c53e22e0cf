"""Product of two numbers of 32 bits from four multipliers of 16."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CYCLES", "Multiplier"]

CYCLES = 2
"""Until the product is there, if the operands stand."""


class Multiplier(wiring.Component):
    """Multiplies signed numbers.

    Four products of unsigned halves, which the part's multipliers have registers for. A sign makes
    a number 2**32 less than its bits say, so that of the upper word the other number is taken off.

    Members
    -------
    a, b : :py:`In(32)`
        Signed numbers.
    o : :py:`Out(64)`
        Their product, two cycles later.
    """

    a: In(32)
    b: In(32)
    o: Out(64)

    def elaborate(self, platform):
        m = Module()
        low_a, high_a = self.a[:16], self.a[16:]
        low_b, high_b = self.b[:16], self.b[16:]
        low, high = Signal(32), Signal(32)
        crossed = [Signal(32), Signal(32)]
        excess = Signal(32)
        m.d.sync += [
            low.eq(low_a * low_b), high.eq(high_a * high_b),
            crossed[0].eq(low_a * high_b), crossed[1].eq(high_a * low_b),
            excess.eq(Mux(self.a[-1], self.b, 0) + Mux(self.b[-1], self.a, 0)),
        ]
        middle, upper, lowest = Signal(33), Signal(32), Signal(16)
        m.d.sync += [
            middle.eq(crossed[0] + crossed[1]),
            upper.eq(high - excess),
            lowest.eq(low[:16]),
        ]
        above = Signal(16)
        m.d.sync += above.eq(low[16:])
        sum_ = Signal(48)
        m.d.comb += sum_.eq(Cat(above, upper) + middle)
        m.d.comb += self.o.eq(Cat(lowest, sum_))
        return m
