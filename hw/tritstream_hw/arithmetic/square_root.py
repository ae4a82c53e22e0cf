"""Integer square root by digit recurrence, one bit per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SquareRoot"]


class SquareRoot(wiring.Component):
    """Largest integer whose square is not above the operand, in :py:`bits` cycles.

    Parameters
    ----------
    bits : int
        Of the root.

    Members
    -------
    start : :py:`In(1)`
        Strobe: take the operand.
    i : :py:`In(2 * bits)`
    o : :py:`Out(bits)`
        Stays until the next start.
    busy : :py:`Out(1)`
        From the cycle after `start` on, for :py:`bits` cycles.
    """

    def __init__(self, bits: int):
        self._bits = bits
        super().__init__({"start": In(1), "i": In(2 * bits), "o": Out(bits), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()

        left = Signal(range(self._bits + 1))
        operand = Signal(2 * self._bits)
        remainder = Signal(self._bits + 1)      # at most twice the root
        grown = Signal(self._bits + 3)
        difference = Signal(signed(self._bits + 4))
        digit = Signal()
        m.d.comb += [
            self.busy.eq(left != 0),
            grown.eq(Cat(operand[-2:], remainder)),
            difference.eq(grown - Cat(C(1, 2), self.o)),
            digit.eq(difference >= 0),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(self._bits), operand.eq(self.i), remainder.eq(0), self.o.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += [
                left.eq(left - 1),
                operand.eq(operand << 2),
                remainder.eq(Mux(digit, difference, grown)),
                self.o.eq(Cat(digit, self.o)),
            ]
        return m
