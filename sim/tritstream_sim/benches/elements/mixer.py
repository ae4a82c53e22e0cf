"""Bench of `Mixer` against the golden recurrence and gated channel mixer.

A row enters in every cycle, or element by element in every fourth. State and result of each are
compared in the cycle in which they are due, so that all latencies are tested too.
"""

import dataclasses
import itertools
import random

import cocotb
import numpy as np

from tritstream.golden.elementwise import glu, mlgru
from tritstream_sim.benches.elements.elementwise import Device, spread

CHAIN_CYCLES = 5
LOW, HIGH = -(1 << 17), (1 << 17) - 1
HULL = HIGH << 6        # no state that comes from 18-bit candidates is larger

Row = tuple[int, int, int, int, int]
"""Elements i, f and g (or a, b and nothing), lower bound's complement and state."""


def draw(rows: int, *, bits: int = 18) -> list[Row]:
    """Draw rows."""
    return [(*(spread(bits) for _ in range(3)), spread(16, sign=False), spread(24) % HULL)
            for _ in range(rows)]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the devices, and what its properties have to say."""

    cycles: int         # from a row to the next
    h_delay: int
    state_latency: int
    glu_latency: int
    mlgru_latency: int

    def offers(self, rows: list[Row]) -> list[dict]:
        """Return what is put on the ports in each cycle for these rows."""
        if self.cycles == 1:
            return [{"elements": [i, f, g], "keep": keep, "h": h, "follows": 0, "turn": 0}
                    for i, f, g, keep, h in rows]
        # What is not of a row has any other value.
        offers = [{"elements": [spread(18) for _ in range(3)], "keep": spread(16, sign=False),
                   "h": spread(24), "follows": 0, "turn": n % self.cycles}
                  for n in range(self.cycles * len(rows))]
        for n, (*elements, keep, h) in enumerate(rows):
            first = self.cycles * n
            for turn, element in enumerate(elements):
                offers[first + turn]["elements"][turn] = element
            offers[first] |= {"keep": keep, "h": h}
        return offers


KINDS = {
    "mixer": Kind(1, h_delay=11, state_latency=17, glu_latency=15, mlgru_latency=32),
    "shared_mixer": Kind(4, h_delay=12, state_latency=18, glu_latency=15, mlgru_latency=33),
}


async def start(dut, kind: str) -> Device:
    """Return the device after reset."""
    device = await Device.started(dut, kind)
    mixer, said = device.component, KINDS[kind]
    assert (mixer.h_delay, mixer.state_latency, mixer.glu_latency, mixer.mlgru_latency) == (
        said.h_delay, said.state_latency, said.glu_latency, said.mlgru_latency)
    return device


async def play(device: Device, rows: list[Row], latency: int, out: str) -> list:
    """Let rows enter as fast as they may."""
    kind = KINDS[device.name]
    behind = draw(latency) if kind.cycles > 1 else []   # turns go on while the last rows leave
    results = await device.play(
        kind.offers([*rows, *behind]), latency, out=out,
        late=[("keep", 1), ("h", kind.h_delay), ("follows", kind.h_delay)])
    return results[::kind.cycles][:len(rows)]


async def check_mlgru(device: Device, rows: list[Row], *, fractions=(12, 12), fresh: int = 0):
    """Compare states and results of rows."""
    device.port("command").value = {"mixes": 1, "glu": 0, "fraction0": fractions[0],
                                    "fraction1": fractions[1]}
    device.port("fresh").value = fresh
    i, f, g, keep, h = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    state, out = mlgru(i, f, g, keep, 0 * h if fresh else h, fractions)
    assert await play(device, rows, KINDS[device.name].state_latency, "state") == state.tolist()
    got = await play(device, rows, KINDS[device.name].mlgru_latency, "o")
    assert [(result.value, result.first) for result in got] == list(
        zip(out.tolist(), g.tolist(), strict=True))


async def check_glu(device: Device, rows: list[Row], *, fraction: int = 12):
    """Compare results of rows."""
    device.port("command").value = {"mixes": 1, "glu": 1, "fraction0": fraction,
                                    "fraction1": random.randrange(21)}
    device.port("fresh").value = random.randrange(2)
    a, b, *_ = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    got = await play(device, rows, KINDS[device.name].glu_latency, "o")
    assert [(result.value, result.first) for result in got] == [
        (value, 0) for value in glu(a, b, fraction).tolist()]


@cocotb.test
@cocotb.parametrize(kind=list(KINDS))
async def any_elements(dut, kind):
    device = await start(dut, kind)
    for bits in (18, 18, 14):
        for fresh in (0, 1):
            fractions = (random.randrange(21), random.randrange(21))
            await check_mlgru(device, draw(100, bits=bits), fractions=fractions, fresh=fresh)
            await check_glu(device, draw(100, bits=bits), fraction=fractions[0])


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), fractions=[(0, 20), (20, 0), (12, 9), (5, 13)])
async def extremes_of_the_recurrence(dut, kind, fractions):
    device = await start(dut, kind)
    elements = [LOW, HIGH, 0, -1]
    rows = list(itertools.product(elements, elements, [LOW, HIGH], [0, 65535], [-HULL, HULL]))
    await check_mlgru(device, rows, fractions=fractions)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), fraction=[0, 12, 20])
async def extremes_of_the_gate(dut, kind, fraction):
    device = await start(dut, kind)
    elements = [LOW, LOW + 1, HIGH, 0, 1, -1]
    await check_glu(device, [(a, b, 0, 0, 0) for a, b in itertools.product(elements, elements)],
                    fraction=fraction)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS))
async def a_sequence_of_tokens_settles_in_the_state(dut, kind):
    device = await start(dut, kind)
    h = [0] * 33
    for token in range(6):
        rows = [(*row[:4], state) for row, state in zip(draw(33, bits=15), h, strict=True)]
        await check_mlgru(device, rows, fractions=(11, 12), fresh=token == 0)
        h = mlgru(*(np.array(column, np.int64) for column in zip(*rows, strict=True)),
                  (11, 12))[0].tolist()


@cocotb.test
async def tokens_of_a_conversation_follow_each_other(dut):
    """The same row of the next token comes so many cycles later, and goes on from the new state."""
    device, mixer = await start(dut, "mixer"), KINDS["mixer"]
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
             for offer, follow in zip(mixer.offers(rows), follows, strict=True)]
    assert await device.play(given, mixer.state_latency, out="state", late=[
        ("keep", 1), ("h", mixer.h_delay), ("follows", mixer.h_delay)]) == expected
