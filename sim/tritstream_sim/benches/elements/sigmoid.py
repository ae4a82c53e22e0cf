"""Bench of `Sigmoid`: every argument for some fractions, any argument for all of them."""

import random
import zlib

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from tritstream.golden.elementwise import sigmoid
from tritstream_sim.benches.elements.elementwise import Device, spread

ALL = np.concatenate([np.arange(1 << 17), np.arange(-(1 << 17), 0)])


@cocotb.test
@cocotb.parametrize(fraction=[9, 12, 16], negate=[0, 1])
async def every_argument(dut, fraction, negate):
    device = await Device.started(dut, "sigmoid_sweep")
    device.port("fraction").value = fraction
    device.port("negate").value = negate
    device.port("start").value = 1
    await RisingEdge(dut.clk)
    device.port("start").value = 0
    await FallingEdge(device.port("busy").handle)
    expected = sigmoid(-ALL if negate else ALL, fraction).astype("<u4")
    assert device.port("digest").value == zlib.crc32(expected.tobytes())


@cocotb.test
async def a_new_argument_every_cycle(dut):
    device = await Device.started(dut, "sigmoid")
    latency = device.component.latency
    arguments = [(spread(18), random.randrange(21), random.randrange(2)) for _ in range(4000)]
    results = []
    for x, fraction, negate in [*arguments, *arguments[:latency]]:
        device.port("x").value = x
        device.port("fraction").value = fraction
        device.port("negate").value = negate
        await device.edge
        results.append(device.port("o").value)
    for (x, fraction, negate), got in zip(arguments, results[latency:], strict=True):
        expected = sigmoid(np.int64(-x if negate else x), fraction)
        assert got == expected, f"sigmoid of {x}, fraction {fraction}, negated {negate}"
