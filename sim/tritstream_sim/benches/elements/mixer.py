"""Bench of `Mixer` against the golden recurrence and gated channel mixer.

A row enters in every cycle. State and result of each are compared in the cycle in which they are
due, so that all latencies are tested too.
"""

import itertools
import random

import cocotb
import numpy as np

from tritstream.golden.elementwise import glu, mlgru
from tritstream_sim.benches.elements.elementwise import Device, spread

GLU_LATENCY, MLGRU_LATENCY, STATE_LATENCY, H_DELAY, CHAIN_CYCLES = 15, 32, 17, 11, 5
LOW, HIGH = -(1 << 17), (1 << 17) - 1
HULL = HIGH << 6        # no state that comes from 18-bit candidates is larger

Row = tuple[int, int, int, int, int]
"""Elements i, f and g (or a, b and nothing), lower bound's complement and state."""


def draw(rows: int, *, bits: int = 18) -> list[Row]:
    """Draw rows."""
    return [(*(spread(bits) for _ in range(3)), spread(16, sign=False), spread(24) % HULL)
            for _ in range(rows)]


def offers(rows: list[Row]) -> list[dict]:
    """Return what is put on the ports for these rows."""
    return [{"elements": [i, f, g], "keep": keep, "h": h, "follows": 0}
            for i, f, g, keep, h in rows]


async def start(dut) -> Device:
    """Return the device after reset."""
    device = await Device.started(dut, "mixer")
    mixer = device.component
    assert mixer.glu_latency == GLU_LATENCY
    assert mixer.mlgru_latency == MLGRU_LATENCY
    assert mixer.state_latency == STATE_LATENCY
    assert mixer.h_delay == H_DELAY
    return device


async def play(device: Device, rows: list[Row], latency: int, out: str) -> list:
    """Let rows enter, one per cycle."""
    return await device.play(offers(rows), latency, out=out,
                             late=[("keep", 1), ("h", H_DELAY), ("follows", H_DELAY)])


async def check_mlgru(device: Device, rows: list[Row], *, fractions=(12, 12), fresh: int = 0):
    """Compare states and results of rows."""
    device.port("command").value = {"mixes": 1, "glu": 0, "fraction0": fractions[0],
                                    "fraction1": fractions[1]}
    device.port("fresh").value = fresh
    i, f, g, keep, h = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    state, out = mlgru(i, f, g, keep, 0 * h if fresh else h, fractions)
    assert await play(device, rows, STATE_LATENCY, "state") == state.tolist()
    got = await play(device, rows, MLGRU_LATENCY, "o")
    assert [(result.value, result.first) for result in got] == list(
        zip(out.tolist(), g.tolist(), strict=True))


async def check_glu(device: Device, rows: list[Row], *, fraction: int = 12):
    """Compare results of rows."""
    device.port("command").value = {"mixes": 1, "glu": 1, "fraction0": fraction,
                                    "fraction1": random.randrange(21)}
    device.port("fresh").value = random.randrange(2)
    a, b, *_ = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    got = await play(device, rows, GLU_LATENCY, "o")
    assert [(result.value, result.first) for result in got] == [
        (value, 0) for value in glu(a, b, fraction).tolist()]


@cocotb.test
async def any_elements(dut):
    device = await start(dut)
    for bits in (18, 18, 14):
        for fresh in (0, 1):
            fractions = (random.randrange(21), random.randrange(21))
            await check_mlgru(device, draw(100, bits=bits), fractions=fractions, fresh=fresh)
            await check_glu(device, draw(100, bits=bits), fraction=fractions[0])


@cocotb.test
@cocotb.parametrize(fractions=[(0, 20), (20, 0), (12, 9), (5, 13)])
async def extremes_of_the_recurrence(dut, fractions):
    device = await start(dut)
    elements = [LOW, HIGH, 0, -1]
    rows = list(itertools.product(elements, elements, [LOW, HIGH], [0, 65535], [-HULL, HULL]))
    await check_mlgru(device, rows, fractions=fractions)


@cocotb.test
@cocotb.parametrize(fraction=[0, 12, 20])
async def extremes_of_the_gate(dut, fraction):
    device = await start(dut)
    elements = [LOW, LOW + 1, HIGH, 0, 1, -1]
    await check_glu(device, [(a, b, 0, 0, 0) for a, b in itertools.product(elements, elements)],
                    fraction=fraction)


@cocotb.test
async def a_sequence_of_tokens_settles_in_the_state(dut):
    device = await start(dut)
    h = [0] * 33
    for token in range(6):
        rows = [(*row[:4], state) for row, state in zip(draw(33, bits=15), h, strict=True)]
        await check_mlgru(device, rows, fractions=(11, 12), fresh=token == 0)
        h = mlgru(*(np.array(column, np.int64) for column in zip(*rows, strict=True)),
                  (11, 12))[0].tolist()


@cocotb.test
async def tokens_of_a_conversation_follow_each_other(dut):
    """The same row of the next token comes so many cycles later, and goes on from the new state."""
    device = await start(dut)
    apart, fractions = device.component.chain_cycles, (11, 12)
    assert apart == CHAIN_CYCLES
    device.port("command").value = {"mixes": 1, "fraction0": 11, "fraction1": 12}
    device.port("fresh").value = 0
    rows = draw(12 * apart, bits=15)
    follows = [n % (3 * apart) >= apart for n in range(len(rows))]      # three tokens each
    h, expected = [row[4] for row in rows], []
    for n, (i, f, g, keep, _) in enumerate(rows):
        before = np.array([expected[n - apart] if follows[n] else h[n]])
        state, _ = mlgru(*(np.array([x]) for x in (i, f, g, keep)), before, fractions)
        expected += state.tolist()
    given = [{**offer, "follows": int(follow)}
             for offer, follow in zip(offers(rows), follows, strict=True)]
    assert await device.play(given, STATE_LATENCY, out="state", late=[
        ("keep", 1), ("h", H_DELAY), ("follows", H_DELAY)]) == expected
