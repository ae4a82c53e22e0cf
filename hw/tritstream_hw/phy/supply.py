"""Regulators whose voltages are set by how long pins are high."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["Supply"]

PERIOD = 1024       # cycles, of pulses that a filter takes for a voltage


class Supply(wiring.Component):
    """Sets regulators to their voltages, and then switches them on, all at once.

    Behind a filter, a pin that is high for a part of each `PERIOD` is that part of its voltage,
    which a resistor adds to what a regulator is fed back: the more, the less it gives.

    Parameters
    ----------
    shares : sequence of float
        For how much of the time the pin of each regulator is high, from 0 to 1.
    settle_cycles : int
        Until the filters have settled, at least 1.
    rise_cycles : int
        From then on, until the regulators give what they are set to; at least 1.

    Members
    -------
    pulses : :py:`Out(len(shares))`
        The pins.
    on : :py:`Out(1)`
        The regulators are on.
    good : :py:`Out(1)`
        They give what they should.
    """

    def __init__(self, shares: Sequence[float], *, settle_cycles: int, rise_cycles: int):
        self._widths = [round(share * PERIOD) for share in shares]
        self._settled = settle_cycles - 1
        self._risen = self._settled + rise_cycles
        super().__init__({"pulses": Out(len(shares)), "on": Out(1), "good": Out(1)})

    def elaborate(self, platform):
        m = Module()
        place, waits = Signal(range(PERIOD)), Signal(range(self._risen + 1))
        m.d.sync += place.eq(place + 1)
        for pulse, width in zip(self.pulses, self._widths, strict=True):
            m.d.sync += pulse.eq(place < width)
        with m.If(waits != self._risen):
            m.d.sync += waits.eq(waits + 1)
        m.d.sync += [self.on.eq(waits >= self._settled), self.good.eq(waits == self._risen)]
        return m
