"""Integer square root by digit recurrence, one bit per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SquareRoot"]


class SquareRoot(wiring.Component):
    """Largest integer whose square is not above the operand.

    The operand comes two bits at a time, from the top; of each two follows a bit of the root. Zeros
    that come first make no difference.

    Parameters
    ----------
    bits : int
        Of the root.

    Members
    -------
    start : :py:`In(1)`
        Strobe: nothing of the operand has come.
    step : :py:`In(1)`
        The next two bits of it are there.
    i : :py:`In(2)`
    o : :py:`Out(bits)`
        Root of all that has come.
    """

    def __init__(self, bits: int):
        self._bits = bits
        super().__init__({"start": In(1), "step": In(1), "i": In(2), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()

        remainder = Signal(self._bits + 1)      # at most twice the root
        grown = Signal(self._bits + 3)
        difference = Signal(signed(self._bits + 4))
        digit = Signal()
        m.d.comb += [
            grown.eq(Cat(self.i, remainder)),
            difference.eq(grown - Cat(C(1, 2), self.o)),
            digit.eq(difference >= 0),
        ]
        with m.If(self.start):
            m.d.sync += [remainder.eq(0), self.o.eq(0)]
        with m.Elif(self.step):
            m.d.sync += [
                remainder.eq(Mux(digit, difference, grown)),
                self.o.eq(Cat(digit, self.o)),
            ]
        return m
