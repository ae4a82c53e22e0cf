"""Sigmoid by a table with linear interpolation."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.elementwise import (
    SIGMOID_ARGUMENT,
    SIGMOID_BASE,
    SIGMOID_DELTA,
    SIGMOID_FRACTION,
    SIGMOID_WITHIN,
)
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.stream.delay import delay

__all__ = ["FRACTION_BITS", "Sigmoid"]

FRACTION_BITS = 5
"""Width of a number of fraction bits, 0..20 in a valid tape."""

_SEGMENT = data.StructLayout({
    "base":  int(SIGMOID_BASE.max()).bit_length(),
    "delta": int(SIGMOID_DELTA.max()).bit_length(),
})


class Sigmoid(wiring.Component):
    """Sigmoid of :py:`x * 2**-fraction`; a new argument every cycle.

    Equals `tritstream.golden.elementwise.sigmoid`. Only half of the curve is in the table: the
    other half is one minus it.

    Members
    -------
    x : :py:`In(signed(18))`, fraction : :py:`In(5)`
        Argument.
    negate : :py:`In(1)`
        Take the sigmoid of :py:`-x`.
    o : :py:`Out(17)`
        0..65536, 16 fraction bits; follows :py:`latency` cycles after the argument.
    """

    x: In(signed(FORMATS.element_bits))
    fraction: In(FRACTION_BITS)
    negate: In(1)
    o: Out(FORMATS.sigmoid_bits + 1)

    def __init__(self):
        super().__init__()
        self._multiplier = Multiplier(_SEGMENT["delta"].shape, SIGMOID_WITHIN)

    @property
    def latency(self) -> int:
        """Cycles from argument to result."""
        return self._multiplier.latency + 6

    def elaborate(self, platform):
        m = Module()
        table = Memory(shape=_SEGMENT, depth=len(SIGMOID_BASE), init=[
            {"base": base, "delta": delta}
            for base, delta in zip(SIGMOID_BASE.tolist(), SIGMOID_DELTA.tolist(), strict=True)])
        m.submodules.table = table
        m.submodules.multiplier = multiplier = self._multiplier

        # Sign and magnitude, which is shifted into a fixed point in two steps.
        bits = FORMATS.element_bits
        magnitude = Signal(bits, reset_less=True)
        coarse = Signal(bits + SIGMOID_FRACTION, reset_less=True)
        fine = Signal.like(coarse, reset_less=True)
        fraction = delay(m, self.fraction, 1, name="fraction")
        m.d.sync += [
            magnitude.eq(Mux(self.x < 0, -self.x, self.x)),
            coarse.eq((magnitude << SIGMOID_FRACTION) >> Cat(C(0, 3), fraction[3:])),
            fine.eq(coarse >> delay(m, fraction[:3], 1, name="fine_fraction")),
        ]
        argument = Signal(SIGMOID_ARGUMENT)
        m.d.comb += argument.eq(fine | fine[SIGMOID_ARGUMENT:].any().replicate(SIGMOID_ARGUMENT))

        segment = table.read_port()
        m.d.comb += [
            segment.addr.eq(argument[SIGMOID_WITHIN:]),
            multiplier.a.eq(segment.data.delta),
            multiplier.b.eq(delay(m, argument[:SIGMOID_WITHIN], 1, name="within")),
        ]

        base = delay(m, segment.data.base, multiplier.latency, name="base")
        falling = Signal(_SEGMENT["base"].shape, reset_less=True)
        falls = delay(m, (self.x < 0) ^ self.negate, self.latency - 1, name="falls")
        result = Signal.like(self.o, reset_less=True)
        m.d.sync += [
            falling.eq(base - (multiplier.o[SIGMOID_WITHIN:] + multiplier.o[SIGMOID_WITHIN - 1])),
            result.eq(Mux(falls, falling, (1 << FORMATS.sigmoid_bits) - falling)),
        ]
        m.d.comb += self.o.eq(result)
        return m
