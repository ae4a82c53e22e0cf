"""Devices of the element-wise datapath in one top, and what their benches share."""

import functools
import random
from collections.abc import Callable, Iterable
from typing import Any

import cocotb
from amaranth import *
from cocotb.triggers import ClockCycles, RisingEdge

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

__all__ = ["CONFIG", "DEVICES", "Device", "spread", "with_gaps"]

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
    "mixer": construct(Mixer, CONFIG),
}


def spread(bits: int, *, sign: bool = True) -> int:
    """Return a random number of `bits` bits, often an extreme one, of any magnitude else."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if sign else (0, (1 << bits) - 1)
    if random.random() < 0.2:
        return random.choice([low, high, max(low, -1), 0, 1, low + 1, high - 1])
    return random.randint(low, high) >> random.randrange(bits)


def with_gaps(offers: Iterable[Any], probability: float) -> list[Any | None]:
    """Return the offers with gaps (None) between them, in each cycle with this probability."""
    spaced = []
    for offer in offers:
        while random.random() < probability:
            spaced.append(None)
        spaced.append(offer)
    return spaced


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
        """Return the device after a reset, with the flow into any device idle."""
        start_clock(dut)
        for device in DEVICES:
            if hasattr(DEVICES[device], "i"):
                dut[f"{device}__i__valid"].value = 0
        await reset(dut)
        return cls(dut, name)

    def port(self, name: str) -> Port:
        """Return a port, whose values have the shape that the component gives them."""
        if name not in self._ports:
            member = functools.reduce(getattr, name.split("__"), self.component)
            self._ports[name] = Port(self.dut, f"{self.name}__{name}", member.shape())
        return self._ports[name]

    def idle(self):
        """Offer nothing."""
        self.port("i__valid").value = 0

    async def play(self, offers: Iterable[Any | None], *, tail: int = 48,
                   answer: Callable[[int], None] = lambda cycle: None) -> list[tuple[int, Any]]:
        """Offer a payload or nothing in each cycle, and return what comes out and when.

        Parameters
        ----------
        offers : iterable of payloads or None
            One per cycle. With nothing, the payload port carries noise.
        tail : int
            Cycles without offer at the end.
        answer : callable
            Called in each cycle with its number, to look at outputs and set inputs of the next.

        Returns
        -------
        list of tuple
            Cycle and payload.
        """
        valid, payload = self.port("i__valid"), self.port("i__payload")
        out_valid, out_payload = self.port("o__valid"), self.port("o__payload")
        results = []
        for cycle, offer in enumerate([*offers, *[None] * tail]):
            valid.value = offer is not None
            if offer is None:
                payload.poison()
            else:
                payload.value = offer
            await self.edge
            if out_valid.value:
                results.append((cycle, out_payload.value))
            answer(cycle)
        return results

    async def interrupt(self, offers: Iterable[Any | None], cycles: int):
        """Offer something for some cycles, then reset while the flow is idle."""
        playing = cocotb.start_soon(self.play(offers))
        await ClockCycles(self.dut.clk, cycles)
        playing.cancel()
        self.idle()
        await reset(self.dut, cycles=1)
