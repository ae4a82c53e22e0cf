"""Bench of `Dequantise` against the golden model."""

import random

import cocotb
import numpy as np

from tritstream.golden.elementwise import dequantise
from tritstream_hw.gemv.layouts import sum_shape
from tritstream_sim.benches.elements.elementwise import CONFIG, Device, spread

LATENCY = 6
BITS = sum_shape(CONFIG.acc_bits).width
LOW, HIGH = -1 << BITS - 1, (1 << BITS - 1) - 1


def scale() -> tuple[int, int]:
    """Return a scale with which every sum fits 32 bits, just so or easily."""
    mantissa = random.choice([65535, 32768, 0, 1, random.randrange(1 << 16)])
    least = max(0, BITS + mantissa.bit_length() + 10 - 32)
    return mantissa, random.choice([least, least + 1, 62, random.randint(least, 62)])


async def check(device: Device, scale: tuple[int, int], accs: list[int]):
    """Play a sum per cycle, and compare every element."""
    mantissa, shift = scale
    device.port("scale").value = {"mantissa": mantissa, "shift": shift}
    got = await device.play([{"acc": acc} for acc in accs], LATENCY)
    want = dequantise(np.array(accs, np.int64), mantissa, shift, 32).tolist()
    assert got == want, f"scale {scale}"


def draw(count: int) -> list[int]:
    """Draw row sums, extreme ones first."""
    return [LOW, HIGH] * 3 + [spread(BITS) for _ in range(count - 6)]


async def start(dut) -> Device:
    """Return the device after reset."""
    device = await Device.started(dut, "dequantise")
    assert device.component.latency == LATENCY
    return device


@cocotb.test
async def scales_every_sum(dut):
    device = await start(dut)
    for _ in range(24):
        await check(device, scale(), draw(60))


@cocotb.test
async def uses_all_bits_at_every_shift(dut):
    device = await start(dut)
    for bits in range(1, 17):
        await check(device, ((1 << bits) - 1, BITS + bits + 10 - 32), draw(12))


@cocotb.test
async def rounds_half_up_at_every_shift(dut):
    device = await start(dut)
    for shift in range(63):
        half = 1 << max(shift - 11, 0)
        accs = [0, 1, -1, half, -half, half - 1, -half - 1, 3 * half, -3 * half]
        await check(device, (1, shift), [acc for acc in accs if LOW <= acc <= HIGH])
