"""Bench of `Mixer` against the golden recurrence and gated channel mixer.

Every result is compared with its cycle, and every write of a state with its cycle and address.
"""

import itertools
import random
from collections.abc import Sequence

import cocotb
import numpy as np
from amaranth.lib import data

from tritstream.golden.elementwise import glu, mlgru
from tritstream_hw.elements.layouts import ELEMENT, RESULT
from tritstream_sim.benches.elements.elementwise import CONFIG, Device, spread, with_gaps

STATE_LATENCY, GATE_LATENCY, FACTOR_LATENCY = 17, 16, 5
LOW, HIGH = -(1 << 17), (1 << 17) - 1
HULL = HIGH << 6        # no state that comes from 18-bit candidates is larger


class Bench:
    """A mixer with the memories around it."""

    def __init__(self, device: Device):
        self.device = device
        self.keep = [spread(16, sign=False) for _ in range(400)]
        self.states = [spread(24) % HULL for _ in range(CONFIG.max_state)]
        self.writes: list[tuple[int, int, int]] = []

    def set(self, *, glu: int, fractions=(12, 12), fresh: int = 0, state_base: int = 0):
        """Set the command."""
        self.glu, self.fractions, self.fresh, self.base = glu, fractions, fresh, state_base
        self.device.port("command").value = {
            "glu": glu, "fraction0": fractions[0], "fraction1": fractions[1], "fresh": fresh,
            "state_base": state_base}

    def offers(self, vectors: Sequence[Sequence[Sequence[int]]]) -> list[data.Const]:
        """Return elements of vectors, each given as its projections, in the order of the core."""
        offers = []
        for projections in vectors:
            rows = len(projections[0])
            for block in range(0, rows, 5):
                for (p, values), row in itertools.product(
                        enumerate(projections), range(block, min(block + 5, rows))):
                    end = row == rows - 1 and p == len(projections) - 1
                    offers.append(ELEMENT.const({
                        "value": values[row], "projection": p, "row": row,
                        "last": end}))
        return offers

    def draw(self, rows: int, *, bits: int = 18) -> list[list[int]]:
        """Draw the projections of a vector."""
        return [[spread(bits) for _ in range(rows)] for _ in range(2 if self.glu else 3)]

    def expect(self, vectors) -> tuple[list[data.Const], list[tuple[int, int]]]:
        """Return golden results, and golden writes as `(address, state)`; advances the states."""
        results, writes = [], []
        for projections in vectors:
            rows = len(projections[0])
            arrays = [np.array(values, np.int64) for values in projections]
            if self.glu:
                out, first = glu(*arrays, self.fractions[0]), np.zeros(rows, np.int64)
            else:
                addresses = [self.base + row for row in range(rows)]
                h = np.array([0 if self.fresh else self.states[a] for a in addresses])
                h, out = mlgru(*arrays, np.array(self.keep[:rows]), h, self.fractions)
                first = arrays[2]
                writes += zip(addresses, h.tolist(), strict=True)
            results += [RESULT.const({"value": value, "first": g, "row": row,
                                      "last": row == rows - 1})
                        for row, (value, g) in enumerate(zip(out.tolist(), first.tolist(),
                                                             strict=True))]
        return results, writes

    def answer(self, cycle: int):
        """Be the memories."""
        port = self.device.port
        row, address = port("keep__addr").value, port("state_read__addr").value
        port("keep__data").value = self.keep[row] if row < len(self.keep) else 0xdead
        port("state_read__data").value = (self.states[address] if address < len(self.states)
                                         else 0x2dead)
        if port("state_write__en").value:
            address, value = port("state_write__addr").value, port("state_write__data").value
            self.states[address] = value
            self.writes.append((cycle, address, value))

    def times(self, offers) -> tuple[list[int], list[int]]:
        """Return in which cycles the results and the writes have to come."""
        when = [[cycle for cycle, offer in enumerate(offers)
                 if offer is not None and offer.projection == p]
                for p in range(3)]
        writes = [] if self.glu else [cycle + STATE_LATENCY for cycle in when[1]]
        ready = [cycle + 1 for cycle in when[0]] if self.glu else writes
        results = []
        for x, y in zip(ready, when[1 if self.glu else 2], strict=True):
            earliest = max(x + GATE_LATENCY, y + FACTOR_LATENCY)
            results.append(max(earliest, results[-1] + 1 if results else 0))
        return results, writes

    async def check(self, vectors, *, gaps: float = 0.0):
        """Play vectors, back to back, and compare everything."""
        offers = with_gaps(self.offers(vectors), gaps)
        before = list(self.states)
        results, writes = [], []
        for vector in vectors:      # a state may be read again by the next vector
            more, written = self.expect([vector])
            results += more
            writes += written
            for address, value in written:
                self.states[address] = value
        self.states = before
        self.writes.clear()
        got = await self.device.play(offers, answer=self.answer)
        due, write_due = self.times(offers)
        for n, (have, want) in enumerate(zip(got, results, strict=True)):
            assert have[1] == want, f"result {n}: {have[1]}, not {want}"
        assert [cycle for cycle, _ in got] == due
        assert self.writes == [(cycle, *write) for cycle, write
                               in zip(write_due, writes, strict=True)]


async def start(dut, **settings) -> Bench:
    """Return a bench after reset."""
    bench = Bench(await Device.started(dut, "mixer"))
    mixer = bench.device.component
    assert mixer.state_latency == STATE_LATENCY
    assert mixer.gate_latency == GATE_LATENCY
    assert mixer.factor_latency == FACTOR_LATENCY
    bench.set(**settings)
    return bench


@cocotb.test
@cocotb.parametrize(glu=[0, 1], gaps=[0.0, 0.3, 0.8])
async def any_elements(dut, glu, gaps):
    bench = await start(dut, glu=glu)
    for _ in range(10):
        bench.set(glu=glu, fractions=(random.randrange(21), random.randrange(21)),
                  fresh=random.random() < 0.2, state_base=random.randrange(24) * 1024)
        await bench.check([bench.draw(random.randint(1, 40), bits=random.choice([18, 18, 14]))],
                          gaps=gaps)


@cocotb.test
@cocotb.parametrize(fractions=[(0, 20), (20, 0), (12, 9), (5, 13)])
async def extremes_of_the_recurrence(dut, fractions):
    bench = await start(dut, glu=0, fractions=fractions)
    elements = [LOW, HIGH, 0, -1]
    cases = list(itertools.product(elements, elements, [LOW, HIGH], [0, 65535], [-HULL, HULL]))
    i, f, g, keep, h = (list(column) for column in zip(*cases, strict=True))
    bench.keep[:len(cases)], bench.states[:len(cases)] = keep, h
    await bench.check([[i, f, g]])


@cocotb.test
@cocotb.parametrize(fraction=[0, 12, 20])
async def extremes_of_the_gate(dut, fraction):
    bench = await start(dut, glu=1, fractions=(fraction, 0))
    elements = [LOW, LOW + 1, HIGH, 0, 1, -1]
    a, b = zip(*itertools.product(elements, elements), strict=True)
    await bench.check([[a, b]])


@cocotb.test
@cocotb.parametrize(gaps=[0.0, 0.4])
async def a_sequence_of_tokens_settles_in_the_state(dut, gaps):
    bench = await start(dut, glu=0, fresh=1, fractions=(11, 12), state_base=4096)
    for token in range(6):
        bench.set(glu=0, fresh=token == 0, fractions=(11, 12), state_base=4096)
        await bench.check([bench.draw(33, bits=15)], gaps=gaps)


@cocotb.test
@cocotb.parametrize(glu=[0, 1])
async def vectors_back_to_back(dut, glu):
    # Without `fresh`, six rows are as few as one state may have between its write and its read.
    bench = await start(dut, glu=glu)
    await bench.check([bench.draw(rows) for rows in (6, 7, 8, 9, 10, 11, 20, 6, 14, 6, 6)])
    bench.set(glu=glu, fresh=1)
    for rows in (1, 2, 3, 4, 5):
        await bench.check([bench.draw(rows) for _ in range(12)])
    await bench.check([bench.draw(random.randint(1, 6)) for _ in range(60)])


@cocotb.test
@cocotb.parametrize(projection=[1, 2], cycles=[1, 6, 20, 60])
async def a_gap_within_a_block(dut, projection, cycles):
    bench = await start(dut, glu=0)
    vector = bench.draw(15)
    offers = bench.offers([vector])
    results, writes = bench.expect([vector])
    gapped = []
    for n, offer in enumerate(offers):
        if n % 15 == 5 * projection:
            gapped += [None] * cycles
        gapped.append(offer)
    got = await bench.device.play(gapped, answer=bench.answer)
    due, write_due = bench.times(gapped)
    assert got == list(zip(due, results, strict=True))
    assert bench.writes == [(cycle, *write) for cycle, write
                            in zip(write_due, writes, strict=True)]


@cocotb.test
@cocotb.parametrize(glu=[0, 1], cycles=[3, 8, 12, 18, 25, 40])
async def forgets_at_reset(dut, glu, cycles):
    bench = await start(dut, glu=glu)
    await bench.device.interrupt(bench.offers([bench.draw(40)]), cycles)
    assert await bench.device.play([]) == []
    await bench.check([bench.draw(11)])


@cocotb.test
async def a_vector_of_one_kind_after_the_other(dut):
    bench = await start(dut, glu=0)
    for token in range(12):
        bench.set(glu=token % 2, fractions=(10, 13), state_base=token * 64)
        await bench.check([bench.draw(13, bits=16)])
