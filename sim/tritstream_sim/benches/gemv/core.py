"""Bench of `TernaryCore`, against NumPy's `@`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from tritstream.build import BuildConfig
from tritstream.image import trits as code
from tritstream_hw.construct import construct
from tritstream_hw.gemv.core import ROWS, TernaryCore, groups_layout, operands_layout
from tritstream_sim.agents.stream import (
    PAUSES,
    Monitor,
    Sink,
    Source,
    reset,
    stall,
    start_clock,
)
from tritstream_sim.verilate.parameters import build_config


def random_group(rng, config: BuildConfig, beats: int):
    """Return int8 `[lanes, columns]` activations and `[groups, 5, columns]` trits."""
    columns = beats * config.beat_bytes
    return (rng.integers(-127, 128, (config.lanes, columns), np.int8),
            rng.integers(-1, 2, (config.groups, ROWS, columns), np.int8))


def beats_of(group, config: BuildConfig) -> list[dict]:
    """Beats of groups side by side: codes, activations, last."""
    acts, trits = group
    codes = code.encode(trits.swapaxes(0, 1)).reshape(config.groups, -1, config.beat_bytes)
    codes = codes.swapaxes(0, 1).reshape(-1, config.stripe_bytes).tolist()
    acts = acts.reshape(config.lanes, -1, config.beat_bytes).swapaxes(0, 1).tolist()
    return [{"codes": these, "acts": those, "last": n == len(codes) - 1}
            for n, (these, those) in enumerate(zip(codes, acts, strict=True))]


def golden(group) -> list[list[list[int]]]:
    """Row sums of groups side by side, by lane."""
    acts, trits = group
    return [(acts.astype(int) @ rows.astype(int).T).tolist() for rows in trits]


def sums_of(value) -> list[list[list[int]]]:
    """Row sums that the core offers, by group and lane."""
    return [[list(sums) for sums in lanes] for lanes in value.sums]


class Bench:
    """Agents at the core, and what it has to answer."""

    def __init__(self, dut, *, i_stall=0.0, o_stall=0.0, burst=1):
        self.config = build_config()
        self.source = Source(dut, "i", operands_layout(
            self.config.beat_bytes, self.config.lanes, self.config.groups),
                             stall=stall(i_stall, burst))
        self.sink = Sink(dut, "o", groups_layout(
            self.config.acc_bits, self.config.lanes, self.config.groups),
                         stall=stall(o_stall, burst))
        self.watch_i, self.watch_o = Monitor(dut, "i"), Monitor(dut, "o")

    async def check(self, groups):
        """Send groups and compare what comes back, including that nothing more does."""
        for group in groups:
            self.source.send(beats_of(group, self.config))
        for n, value in enumerate(await self.sink.take(len(groups))):
            got, expected = sums_of(value), golden(groups[n])
            assert got == expected, f"group {n}: {got}, expected {expected}"
        await self.sink.nothing_more()


async def start(dut, **stalls) -> tuple[Bench, np.random.Generator]:
    """Return a bench after reset, and a seeded generator."""
    start_clock(dut)
    bench = Bench(dut, **stalls)
    await reset(dut)
    return bench, np.random.default_rng(cocotb.RANDOM_SEED)


@cocotb.test
@cocotb.parametrize((("i_stall", "o_stall", "burst"), PAUSES))
async def groups_of_all_lengths(dut, i_stall, o_stall, burst):
    bench, rng = await start(dut, i_stall=i_stall, o_stall=o_stall, burst=burst)
    longest = min(bench.config.column_beats, 8)
    lengths = [1] * 30 + rng.integers(1, longest + 1, 30).tolist()
    await bench.check([random_group(rng, bench.config, beats) for beats in lengths])


@cocotb.test
async def extremes(dut):
    bench, rng = await start(dut)
    longest = bench.config.column_beats
    groups = []
    for act in (-127, 0, 127):
        for trit in (-1, 0, 1):
            columns = longest * bench.config.beat_bytes
            groups.append((np.full((bench.config.lanes, columns), act, np.int8),
                           np.full((bench.config.groups, ROWS, columns), trit, np.int8)))
    # The quantiser never makes -128, but the trees hold it.
    columns = max(bench.config.beat_bytes, 16)
    for trit in (-1, 0, 1):
        groups.append((np.full((bench.config.lanes, columns), -128, np.int8),
                       np.full((bench.config.groups, ROWS, columns), trit, np.int8)))
    groups.append(random_group(rng, bench.config, longest))
    await bench.check(groups)


@cocotb.test
async def each_row_and_column_has_its_place(dut):
    bench, rng = await start(dut)
    groups = []
    shape = bench.config.groups, ROWS, bench.config.beat_bytes
    for place in np.ndindex(shape):
        trits = np.zeros(shape, np.int8)
        trits[place] = rng.choice([-1, 1])
        groups.append((random_group(rng, bench.config, 1)[0], trits))
    await bench.check(groups)


@cocotb.test
@cocotb.parametrize(beats=[1, 2, 3])
async def a_beat_per_cycle(dut, beats):
    bench, rng = await start(dut)
    count = 40
    await bench.check([random_group(rng, bench.config, beats) for _ in range(count)])
    first = bench.watch_i.cycles[0]
    assert bench.watch_i.cycles == list(range(first, first + count * beats))
    latency = construct(TernaryCore, bench.config).latency
    assert bench.watch_o.cycles == [cycle + latency for cycle in
                                    bench.watch_i.cycles[beats - 1::beats]]


@cocotb.test
async def a_receiver_that_waits_stops_the_core_in_time(dut):
    bench, rng = await start(dut)
    bench.sink.stall = lambda: True
    groups = [random_group(rng, bench.config, 1) for _ in range(50)]
    for group in groups:
        bench.source.send(beats_of(group, bench.config))
    await ClockCycles(dut.clk, 100)
    assert len(bench.watch_i.payloads) == construct(TernaryCore, bench.config).places
    bench.sink.stall = None
    got = [sums_of(value) for value in await bench.sink.take(len(groups))]
    assert got == [golden(group) for group in groups]
    await bench.sink.nothing_more()


@cocotb.test
@cocotb.parametrize(cycles=[1, 3, 6, 9, 14])
async def reset_forgets_everything(dut, cycles):
    bench, rng = await start(dut, o_stall=0.5)
    for _ in range(10):
        bench.source.send(beats_of(random_group(rng, bench.config, 2), bench.config))
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    await bench.check([random_group(rng, bench.config, 3) for _ in range(5)])
