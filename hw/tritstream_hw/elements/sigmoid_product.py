"""Something times a sigmoid: SiLU, and how far a gate opens."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.sigmoid import FRACTION_BITS, Sigmoid
from tritstream_hw.stream.delay import delay

__all__ = ["SigmoidProduct"]


class SigmoidProduct(wiring.Component):
    """Product :py:`factor * sigmoid(x * 2**-fraction)`, rounded half up; a new one every cycle.

    With `x` as the factor this is `tritstream.golden.elementwise.silu`.

    Members
    -------
    x, fraction, negate
        As for :class:`tritstream_hw.elements.sigmoid.Sigmoid`.
    factor : :py:`In(signed(18))`
        Goes with `x`.
    o : :py:`Out(signed(18))`
        In the format of the factor; follows :py:`latency` cycles after it.
    """

    x: In(signed(FORMATS.element_bits))
    fraction: In(FRACTION_BITS)
    negate: In(1)
    factor: In(signed(FORMATS.element_bits))
    o: Out(signed(FORMATS.element_bits))

    def __init__(self):
        super().__init__()
        self._sigmoid = Sigmoid()
        self._multiplier = Multiplier(self.factor.shape(), self._sigmoid.o.shape())

    @property
    def latency(self) -> int:
        """Cycles from operands to result."""
        return self._sigmoid.latency + self._multiplier.latency + 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.sigmoid = sigmoid = self._sigmoid
        m.submodules.multiplier = multiplier = self._multiplier

        down = FORMATS.sigmoid_bits
        result = Signal.like(self.o, reset_less=True)
        m.d.comb += [
            sigmoid.x.eq(self.x),
            sigmoid.fraction.eq(self.fraction),
            sigmoid.negate.eq(self.negate),
            multiplier.a.eq(delay(m, self.factor, sigmoid.latency, name="factor")),
            multiplier.b.eq(sigmoid.o),
            self.o.eq(result),
        ]
        m.d.sync += result.eq(multiplier.o[down:].as_signed() + multiplier.o[down - 1])
        return m
