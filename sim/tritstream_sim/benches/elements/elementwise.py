"""Devices of the element-wise datapath in one top, and what their benches share."""

import functools
import random
from collections.abc import Iterable
from typing import Any

from amaranth import *
from cocotb.triggers import RisingEdge

from tritstream.build import BuildConfig
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.construct import construct
from tritstream_hw.elements.dequantise import Dequantise
from tritstream_hw.elements.mixer import Mixer
from tritstream_hw.elements.residual import Residual
from tritstream_hw.elements.sigmoid import Sigmoid
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import reset, start_clock
from tritstream_sim.benches.elements.sigmoid_sweep import SigmoidSweep

__all__ = ["CONFIG", "DEVICES", "Device", "spread"]

CONFIG = BuildConfig()

DEVICES = {
    "multiply_small": Multiplier(unsigned(3), unsigned(1)),
    "multiply_one": Multiplier(signed(18), unsigned(17)),
    "multiply_two": Multiplier(signed(25), unsigned(16)),
    "multiply_three": Multiplier(signed(18), signed(36)),
    "multiply_most": Multiplier(signed(48), signed(48)),
    "multiply_natural": Multiplier(unsigned(34), unsigned(35)),
    "dequantise": construct(Dequantise, CONFIG),
    "residual": Residual(),
    "sigmoid": Sigmoid(),
    "sigmoid_sweep": SigmoidSweep(),
    "mixer": Mixer(),
    "shared_mixer": Mixer(element_cycles=4),
}


def spread(bits: int, *, sign: bool = True) -> int:
    """Return a random number of `bits` bits, often an extreme one, of any magnitude else."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if sign else (0, (1 << bits) - 1)
    if random.random() < 0.2:
        return random.choice([low, high, max(low, -1), 0, 1, low + 1, high - 1])
    return random.randint(low, high) >> random.randrange(bits)


class Device:
    """One of the devices: its ports, and a way to play a flow through it.

    Parameters
    ----------
    dut
        Handle of the top.
    name : str
        Which of `DEVICES`.
    """

    def __init__(self, dut, name: str):
        self.dut, self.name = dut, name
        self.edge = RisingEdge(dut.clk)
        self.component = DEVICES[name]
        self._ports = {}

    @classmethod
    async def started(cls, dut, name: str) -> "Device":
        """Return the device after a reset."""
        start_clock(dut)
        await reset(dut)
        return cls(dut, name)

    def port(self, name: str) -> Port:
        """Return a port, whose values have the shape that the component gives them."""
        if name not in self._ports:
            member = functools.reduce(getattr, name.split("__"), self.component)
            self._ports[name] = Port(self.dut, f"{self.name}__{name}", member.shape())
        return self._ports[name]

    async def play(self, offers: Iterable[dict[str, Any]], latency: int, *,
                   late: Iterable[tuple[str, int]] = (), out: str = "o") -> list[Any]:
        """Set inputs in each cycle; return what comes out so many cycles after each of them.

        Parameters
        ----------
        offers : iterable of dict
            Values by port, one of these per cycle.
        latency : int
            Cycles from inputs to output.
        late : iterable of (str, int)
            Ports that are set so many cycles after the others.
        out : str
            The output.
        """
        offers, late = list(offers), dict(late)
        results = []
        for cycle in range(len(offers) + latency):
            for name in offers[0]:
                at = cycle - late.get(name, 0)
                if 0 <= at < len(offers):
                    self.port(name).value = offers[at][name]
                else:
                    self.port(name).poison()
            await self.edge
            results.append(self.port(out).value)
        return results[latency:]
