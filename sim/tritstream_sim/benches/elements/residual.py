"""Bench of `Residual`."""

import random

import cocotb
from amaranth.lib import data

from tritstream_hw.elements.layouts import ELEMENT, RESULT
from tritstream_sim.benches.elements.elementwise import Device, spread, with_gaps

LATENCY = 3
LOW, HIGH = -(1 << 31), (1 << 31) - 1


class Bench:
    """A residual adder with its x memory, whose rows are drawn as they are offered."""

    def __init__(self, device: Device):
        self.device, self.x = device, {}

    def offers(self, count: int, *, embed: int) -> list[data.Const]:
        """Draw x, and what is added to it so that the sum fits; extremes first."""
        offers = []
        for n in range(count):
            row = n if n < 4 else 65535 - n
            self.x[row] = [LOW, HIGH, 0, -1][n] if n < 4 else spread(32)
            value = [HIGH, LOW, LOW, LOW + 1][n] if n < 4 else spread(32)
            if not embed:
                value = min(max(value, LOW - self.x[row]), HIGH - self.x[row])
            offers.append(ELEMENT.const({"value": value, "projection": random.randrange(3),
                                         "row": row, "last": random.getrandbits(1)}))
        return offers

    def answer(self, cycle: int):
        """Be the memory."""
        row = self.device.port("x__addr").value
        self.device.port("x__data").value = self.x.get(row, 12345)

    async def check(self, offers, *, embed: int):
        """Play offers, with None for a gap, and compare every result and its cycle."""
        self.device.port("embed").value = embed
        expected = []
        for cycle, i in enumerate(offers):
            if i is not None:
                value = i.value + (0 if embed else self.x[i.row])
                expected.append((cycle + LATENCY, RESULT.const({
                    "value": value, "first": value, "row": i.row, "last": i.last})))
        assert await self.device.play(offers, answer=self.answer) == expected


@cocotb.test
@cocotb.parametrize(embed=[0, 1], gaps=[0.0, 0.5])
async def adds(dut, embed, gaps):
    bench = Bench(await Device.started(dut, "residual"))
    assert bench.device.component.latency == LATENCY
    for _ in range(4):
        await bench.check(with_gaps(bench.offers(100, embed=embed), gaps), embed=embed)


@cocotb.test
@cocotb.parametrize(cycles=[1, 2, 5])
async def forgets_at_reset(dut, cycles):
    bench = Bench(await Device.started(dut, "residual"))
    await bench.device.interrupt(bench.offers(20, embed=1), cycles)
    assert await bench.device.play([]) == []
    await bench.check(bench.offers(10, embed=0), embed=0)
