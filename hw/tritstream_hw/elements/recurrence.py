"""One step of the MLGRU's recurrent state."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.stream.delay import delay

__all__ = ["Recurrence"]


class Recurrence(wiring.Component):
    """New state, :py:`h + ((candidate << 6) - h) * opened`, rounded half up; one every cycle.

    Part of `tritstream.golden.elementwise.mlgru`. The result is between the two states that it
    mixes, so it always fits.

    Members
    -------
    h : :py:`In(signed(24))`
        State.
    candidate : :py:`In(signed(18))`
        What it moves to, with 6 fraction bits less.
    opened : :py:`In(16)`
        How far, a fraction.
    o : :py:`Out(signed(24))`
        New state; follows :py:`latency` cycles after the operands.
    """

    h: In(signed(FORMATS.state_bits))
    candidate: In(signed(FORMATS.element_bits))
    opened: In(FORMATS.sigmoid_bits)
    o: Out(signed(FORMATS.state_bits))

    def __init__(self):
        super().__init__()
        self._multiplier = Multiplier(signed(FORMATS.state_bits + 1), FORMATS.sigmoid_bits)

    @property
    def latency(self) -> int:
        """Cycles from operands to new state."""
        return self._multiplier.latency + 2

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier

        difference = Signal.like(multiplier.a, reset_less=True)
        m.d.sync += difference.eq((self.candidate << FORMATS.state_extra) - self.h)
        m.d.comb += [
            multiplier.a.eq(difference),
            multiplier.b.eq(delay(m, self.opened, 1, name="opened")),
        ]

        down = FORMATS.sigmoid_bits
        h = delay(m, self.h, self.latency - 1, name="h")
        result = Signal.like(self.o, reset_less=True)
        m.d.sync += result.eq(h + multiplier.o[down:].as_signed() + multiplier.o[down - 1])
        m.d.comb += self.o.eq(result)
        return m
