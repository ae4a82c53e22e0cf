"""Division by digit recurrence, one or two bits of the quotient per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS

__all__ = ["Divider"]

_BITS = FORMATS.amax_bits
_QUOTIENT = _BITS + 1


class Divider(wiring.Component):
    """:py:`(numerator << 17) // denominator * factor` in 18 cycles, or in 9 by two bits each.

    The quotient comes highest digit first, so that the product with a factor needs no multiplier:
    it is shifted up every cycle, and the digit's multiple of the factor added. A digit is as many
    multiples of the denominator as the remainder holds, to all of which it is compared at once. The
    remainder is not kept. The result is arbitrary unless :py:`numerator < 2 * denominator`.

    Parameters
    ----------
    digit_bits : int
        1 or 2.

    Members
    -------
    start : :py:`In(1)`
        Strobe: take numerator and denominator.
    numerator, denominator : :py:`In(17)`
    factor : :py:`In(16)`
        Has to be stable from `start` on while `busy`.
    shift : :py:`In(1)`
        Strobe: shift the result up by a place. Not while `busy`.
    o : :py:`Out(34)`
        Stays until the next start or shift.
    busy : :py:`Out(1)`, left : :py:`Out(...)`
        From the cycle after `start` on, for as many cycles as it takes; and how many are left.
    """

    def __init__(self, *, digit_bits: int):
        self._digit_bits = digit_bits
        super().__init__({
            "start":       In(1),
            "numerator":   In(_BITS),
            "denominator": In(_BITS),
            "factor":      In(FORMATS.mantissa_bits),
            "shift":       In(1),
            "o":           Out(_QUOTIENT + FORMATS.mantissa_bits),
            "busy":        Out(1),
            "left":        Out(range(_QUOTIENT // digit_bits + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        bits, digits = self._digit_bits, _QUOTIENT // self._digit_bits

        remainder = Signal(_BITS + bits)        # less than 2**bits times the denominator
        m.d.comb += self.busy.eq(self.left != 0)
        # Registers of the denominator and of three times as much: a digit is the longest path.
        once, thrice = Signal(_BITS), Signal(_BITS + 2)
        with m.If(self.start):
            m.d.sync += [once.eq(self.denominator),
                         thrice.eq(self.denominator + (self.denominator << 1))]
        factor = Signal(len(self.factor) + 2)       # three times as much
        m.d.sync += factor.eq(self.factor + (self.factor << 1))
        multiples = {1: (once, self.factor), 2: (once << 1, self.factor << 1), 3: (thrice, factor)}

        following, multiple = remainder, C(0)
        for digit in range(1, 1 << bits):
            difference = Signal(signed(_BITS + bits + 1), name=f"difference_{digit}")
            taken, added = multiples[digit]
            m.d.comb += difference.eq(remainder - taken)
            following = Mux(difference >= 0, difference[:_BITS + bits], following)
            multiple = Mux(difference >= 0, added, multiple)
        with m.If(self.start):
            m.d.sync += [self.left.eq(digits), remainder.eq(self.numerator << bits - 1),
                         self.o.eq(0)]
        with m.Else():
            with m.If(self.busy):
                m.d.sync += [self.left.eq(self.left - 1), remainder.eq(following << bits)]
            with m.If(self.busy | self.shift):
                m.d.sync += self.o.eq(Mux(self.busy, self.o << bits, self.o << 1)
                                      + Mux(self.busy, multiple, 0))
        return m
