"""Bench of `Residual`."""

import cocotb

from tritstream_sim.benches.elements.elementwise import Device, spread

LATENCY = 3
LOW, HIGH = -(1 << 31), (1 << 31) - 1


@cocotb.test
@cocotb.parametrize(embed=[0, 1])
async def adds(dut, embed):
    device = await Device.started(dut, "residual")
    assert device.component.latency == LATENCY
    device.port("embed").value = embed
    pairs = [(HIGH, LOW), (LOW, HIGH), (LOW, 0), (LOW + 1, -1)]
    pairs += [(spread(32), spread(32)) for _ in range(400)]
    if not embed:       # the sum has to fit
        pairs = [(min(max(i, LOW - x), HIGH - x), x) for i, x in pairs]
    got = await device.play([{"i": i, "x": x} for i, x in pairs], LATENCY, late=[("x", 1)])
    assert got == [i + (0 if embed else x) for i, x in pairs]
