"""Gated product: a SiLU times what it gates."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.elementwise import GATE_SHIFT
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import ELEMENT

__all__ = ["Gate"]


class Gate(wiring.Component):
    """Product of two elements, `GATE_SHIFT` fraction bits less, rounded half up; one every cycle.

    Part of `tritstream.golden.elementwise.glu`.

    Members
    -------
    silu, factor : :py:`In(signed(18))`
        The operands.
    o : :py:`Out(signed(32))`
        Product; follows :py:`latency` cycles after them.
    """

    silu: In(ELEMENT)
    factor: In(ELEMENT)
    o: Out(signed(FORMATS.vector_bits))

    def __init__(self):
        super().__init__()
        self._multiplier = Multiplier(ELEMENT, ELEMENT)

    @property
    def latency(self) -> int:
        """Cycles from operands to product."""
        return self._multiplier.latency + 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        result = Signal.like(self.o, reset_less=True)
        m.d.comb += [multiplier.a.eq(self.silu), multiplier.b.eq(self.factor), self.o.eq(result)]
        m.d.sync += result.eq(multiplier.o[GATE_SHIFT:].as_signed() + multiplier.o[GATE_SHIFT - 1])
        return m
