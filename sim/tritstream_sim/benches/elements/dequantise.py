"""Bench of `Dequantise` against the golden model."""

import random

import cocotb
import numpy as np
from amaranth.lib import data

from tritstream.golden.elementwise import dequantise
from tritstream_hw.elements.layouts import ELEMENT
from tritstream_hw.gemv.layouts import sum_layout
from tritstream_sim.benches.elements.elementwise import CONFIG, Device, spread, with_gaps

LATENCY = 6
LAYOUT = sum_layout(CONFIG.acc_bits)
BITS = LAYOUT["acc"].width


def scales() -> list[tuple[int, int]]:
    """Return three scales with which every sum fits 32 bits, just so or easily."""
    chosen = []
    for _ in range(3):
        mantissa = random.choice([65535, 32768, 0, 1, random.randrange(1 << 16)])
        least = max(0, BITS + mantissa.bit_length() + 10 - 32)
        chosen.append((mantissa, random.choice([least, least + 1, 62, random.randint(least, 62)])))
    return chosen


class Bench:
    """A dequantiser and its golden function."""

    def __init__(self, device: Device):
        self.device = device

    def scale(self, scales: list[tuple[int, int]]):
        """Apply scales, `(mantissa, shift)` each."""
        self.scales = scales
        self.device.port("scales").value = [
            {"mantissa": mantissa, "shift": shift} for mantissa, shift in scales]

    def offers(self, count: int) -> list[data.Const]:
        """Draw row sums, extreme ones first."""
        low = -(1 << BITS - 1)
        accs = [low, -low - 1] * 3 + [spread(BITS) for _ in range(count - 6)]
        return [LAYOUT.const({
            "acc": acc, "projection": n // 2 % 3 if n < 6 else random.randrange(3),
            "row": random.getrandbits(16), "last": random.getrandbits(1)})
            for n, acc in enumerate(accs)]

    async def check(self, offers):
        """Play offers, with None for a gap, and compare every result and its cycle."""
        expected = []
        for cycle, i in enumerate(offers):
            if i is not None:
                mantissa, shift = self.scales[i.projection]
                value = int(dequantise(np.int64(i.acc), mantissa, shift, 32))
                expected.append((cycle + LATENCY, ELEMENT.const({
                    "value": value, "projection": i.projection, "row": i.row,
                    "last": i.last})))
        got = await self.device.play(offers)
        for (cycle, want), (when, have) in zip(expected, got, strict=True):
            assert have == want, (f"cycle {cycle}, scales {self.scales}: "
                                  f"{have}, not {want}")
            assert when == cycle


async def start(dut) -> Bench:
    """Return a bench after reset."""
    bench = Bench(await Device.started(dut, "dequantise"))
    assert bench.device.component.latency == LATENCY
    return bench


@cocotb.test
@cocotb.parametrize(gaps=[0.0, 0.5])
async def scales_every_sum(dut, gaps):
    bench = await start(dut)
    for _ in range(12):
        bench.scale(scales())
        await bench.check(with_gaps(bench.offers(60), gaps))


@cocotb.test
async def uses_all_bits_at_every_shift(dut):
    bench = await start(dut)
    for bits in range(1, 17):
        bench.scale([((1 << bits) - 1, BITS + bits + 10 - 32)] * 3)
        await bench.check(bench.offers(12))


@cocotb.test
async def rounds_half_up_at_every_shift(dut):
    bench = await start(dut)
    for shift in range(63):
        bench.scale([(1, shift)] * 3)
        half = 1 << max(shift - 11, 0)
        accs = {0, 1, -1, half, -half, half - 1, -half - 1, 3 * half, -3 * half}
        low, high = -1 << BITS - 1, (1 << BITS - 1) - 1
        await bench.check([LAYOUT.const({"acc": acc})
                           for acc in accs if low <= acc <= high])


@cocotb.test
@cocotb.parametrize(cycles=[1, 4, 9])
async def forgets_at_reset(dut, cycles):
    bench = await start(dut)
    bench.scale(scales())
    await bench.device.interrupt(bench.offers(40), cycles)
    assert await bench.device.play([]) == []
    await bench.check(bench.offers(20))
