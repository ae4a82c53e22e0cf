"""Bench of `Multiplier`, at widths of one limb up to nine partial products."""

import cocotb

from tritstream_sim.benches.elements.elementwise import Device, spread

LATENCIES = {"small": 2, "one": 2, "two": 3, "three": 4, "most": 6, "natural": 5}


@cocotb.test
@cocotb.parametrize(which=list(LATENCIES))
async def extremes_and_any_operands_every_cycle(dut, which):
    device = await Device.started(dut, f"multiply_{which}")
    shapes = [port.shape() for port in (device.component.a, device.component.b)]
    ends = [[-(1 << s.width - 1), (1 << s.width - 1) - 1, -1] if s.signed
            else [0, (1 << s.width) - 1, 1] for s in shapes]
    pairs = [(a, b) for a in ends[0] for b in ends[1]]
    pairs += [tuple(spread(s.width, sign=s.signed) for s in shapes) for _ in range(400)]
    latency = LATENCIES[which]
    assert device.component.latency == latency
    results = []
    for a, b in [*pairs, *pairs[:latency]]:
        device.port("a").value = a
        device.port("b").value = b
        await device.edge
        results.append(device.port("o").value)
    for (a, b), got in zip(pairs, results[latency:], strict=True):
        assert got == a * b, f"{a} times {b} is not {got}"
