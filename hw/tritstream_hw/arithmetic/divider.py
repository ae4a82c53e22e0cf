"""Division by digit recurrence, one bit of the quotient per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS

__all__ = ["Divider"]

_BITS = FORMATS.amax_bits
_DIGITS = _BITS + 1


class Divider(wiring.Component):
    """:py:`(numerator << 17) // denominator * factor` in 18 cycles.

    The quotient comes highest bit first, so that the product with a factor needs no multiplier:
    it is doubled every cycle, and the factor added to it where the bit is 1. The remainder is not
    kept. The result is arbitrary unless :py:`numerator < 2 * denominator`.

    Members
    -------
    start : :py:`In(1)`
        Strobe: take numerator and denominator.
    numerator, denominator : :py:`In(17)`
    factor : :py:`In(16)`
        Has to be stable while `busy`, as has `denominator`.
    o : :py:`Out(34)`
        Stays until the next start.
    busy : :py:`Out(1)`
        From the cycle after `start` on, for 18 cycles.
    """

    start: In(1)
    numerator: In(_BITS)
    denominator: In(_BITS)
    factor: In(FORMATS.mantissa_bits)
    o: Out(_DIGITS + FORMATS.mantissa_bits)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()

        left = Signal(range(_DIGITS + 1))
        remainder = Signal(_BITS + 1)           # less than twice the denominator
        difference = Signal(signed(_BITS + 2))
        digit = Signal()
        m.d.comb += [
            self.busy.eq(left != 0),
            difference.eq(remainder - self.denominator),
            digit.eq(difference >= 0),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(_DIGITS), remainder.eq(self.numerator), self.o.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += [
                left.eq(left - 1),
                remainder.eq(Mux(digit, difference[:_BITS + 1], remainder) << 1),
                self.o.eq((self.o << 1) + Mux(digit, self.factor, 0)),
            ]
        return m
