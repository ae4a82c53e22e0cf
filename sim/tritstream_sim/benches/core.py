"""Bench of `TernaryCore` at several widths of a beat, against NumPy's `@`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from tritstream import trits as code
from tritstream.config import BuildConfig
from tritstream_hw.core import ROWS, TernaryCore, sums_layout
from tritstream_sim.agents import Monitor, Sink, Source, reset, stall, start_clock

WIDTHS = [1, 4, 16, 64]
SWEEP = {"beat_bytes": WIDTHS, "i_stall": [0.0, 0.5], "o_stall": [0.0, 0.7]}


def config(beat_bytes: int) -> BuildConfig:
    """Return a configuration whose longest group is short."""
    return BuildConfig(beat_bytes=beat_bytes, elements=1, max_hidden=128, max_intermediate=128)


def components() -> dict[str, TernaryCore]:
    """Return the devices under test, called `p<width>`."""
    return {f"p{width}": TernaryCore(config(width)) for width in WIDTHS}


def random_group(rng, beats: int, beat_bytes: int):
    """Return int8 `[columns]` activations and `[5, columns]` trits."""
    columns = beats * beat_bytes
    return (rng.integers(-127, 128, columns, np.int8),
            rng.integers(-1, 2, (ROWS, columns), np.int8))


def pack(group, beat_bytes: int) -> list[int]:
    """Beats of a group as the bits of their layout: codes, activations, last."""
    acts, trits = group
    codes = code.encode(trits).reshape(-1, beat_bytes)
    beats = [int.from_bytes(row.tobytes(), "little")
             for row in np.hstack([codes, acts.view(np.uint8).reshape(-1, beat_bytes)])]
    beats[-1] |= 1 << 16 * beat_bytes
    return beats


def golden(group) -> list[int]:
    """Row sums of a group."""
    acts, trits = group
    return (trits.astype(int) @ acts.astype(int)).tolist()


def unpack(value: int, beat_bytes: int) -> list[int]:
    """Row sums from the bits of their layout."""
    return list(sums_layout(config(beat_bytes)).from_bits(value).sums)


class Bench:
    """Agents at the core with beats of `beat_bytes`, and what it has to answer."""

    def __init__(self, dut, beat_bytes: int, *, i_stall=0.0, o_stall=0.0):
        self.beat_bytes = beat_bytes
        self.source = Source(dut, f"p{beat_bytes}__i", stall=stall(i_stall))
        self.sink = Sink(dut, f"p{beat_bytes}__o", stall=stall(o_stall))
        self.watch_i = Monitor(dut, f"p{beat_bytes}__i")
        self.watch_o = Monitor(dut, f"p{beat_bytes}__o")

    async def check(self, groups):
        """Send groups and compare what comes back, including that nothing more does."""
        for group in groups:
            self.source.send(pack(group, self.beat_bytes))
        for n, value in enumerate(await self.sink.take(len(groups))):
            got, expected = unpack(value, self.beat_bytes), golden(groups[n])
            assert got == expected, f"group {n}: {got}, expected {expected}"
        await self.sink.nothing_more()


async def start(dut, beat_bytes: int, **stalls) -> tuple[Bench, np.random.Generator]:
    """Return a bench after reset, and a seeded generator."""
    start_clock(dut)
    bench = Bench(dut, beat_bytes, **stalls)
    await reset(dut)
    return bench, np.random.default_rng(cocotb.RANDOM_SEED)


@cocotb.test
@cocotb.parametrize(**SWEEP)
async def groups_of_all_lengths(dut, beat_bytes, i_stall, o_stall):
    bench, rng = await start(dut, beat_bytes, i_stall=i_stall, o_stall=o_stall)
    longest = min(config(beat_bytes).column_beats, 8)
    lengths = [1] * 30 + rng.integers(1, longest + 1, 30).tolist()
    await bench.check([random_group(rng, beats, beat_bytes) for beats in lengths])


@cocotb.test
@cocotb.parametrize(beat_bytes=WIDTHS)
async def extremes(dut, beat_bytes):
    bench, rng = await start(dut, beat_bytes)
    longest = config(beat_bytes).column_beats
    groups = []
    for act in (-127, 0, 127):
        for trit in (-1, 0, 1):
            columns = longest * beat_bytes
            groups.append((np.full(columns, act, np.int8), np.full((ROWS, columns), trit, np.int8)))
    # The quantiser never makes -128, but the trees hold it.
    columns = max(beat_bytes, 16)
    for trit in (-1, 0, 1):
        groups.append((np.full(columns, -128, np.int8), np.full((ROWS, columns), trit, np.int8)))
    groups.append(random_group(rng, longest, beat_bytes))
    await bench.check(groups)


@cocotb.test
@cocotb.parametrize(beat_bytes=WIDTHS)
async def each_row_and_column_has_its_place(dut, beat_bytes):
    bench, rng = await start(dut, beat_bytes)
    groups = []
    for column in range(beat_bytes):
        for row in range(ROWS):
            trits = np.zeros((ROWS, beat_bytes), np.int8)
            trits[row, column] = rng.choice([-1, 1])
            groups.append((rng.integers(-127, 128, beat_bytes, np.int8), trits))
    await bench.check(groups)


@cocotb.test
@cocotb.parametrize(beat_bytes=WIDTHS, beats=[1, 2, 3])
async def a_beat_per_cycle(dut, beat_bytes, beats):
    bench, rng = await start(dut, beat_bytes)
    count = 40
    await bench.check([random_group(rng, beats, beat_bytes) for _ in range(count)])
    first = bench.watch_i.cycles[0]
    assert bench.watch_i.cycles == list(range(first, first + count * beats))
    latency = TernaryCore(config(beat_bytes)).latency
    assert bench.watch_o.cycles == [cycle + latency for cycle in
                                    bench.watch_i.cycles[beats - 1::beats]]


@cocotb.test
@cocotb.parametrize(beat_bytes=WIDTHS)
async def a_receiver_that_waits_stops_the_core_in_time(dut, beat_bytes):
    bench, rng = await start(dut, beat_bytes)
    bench.sink.stall = lambda: True
    groups = [random_group(rng, 1, beat_bytes) for _ in range(50)]
    for group in groups:
        bench.source.send(pack(group, beat_bytes))
    await ClockCycles(dut.clk, 100)
    assert len(bench.watch_i.payloads) == TernaryCore(config(beat_bytes)).places
    bench.sink.stall = None
    got = [unpack(value, beat_bytes) for value in await bench.sink.take(len(groups))]
    assert got == [golden(group) for group in groups]
    await bench.sink.nothing_more()


@cocotb.test
@cocotb.parametrize(beat_bytes=WIDTHS, cycles=[1, 3, 6, 9, 14])
async def reset_forgets_everything(dut, beat_bytes, cycles):
    bench, rng = await start(dut, beat_bytes, o_stall=0.5)
    for _ in range(10):
        bench.source.send(pack(random_group(rng, 2, beat_bytes), beat_bytes))
    await ClockCycles(dut.clk, cycles)
    bench.source.clear()
    await reset(dut)
    bench.sink.clear()
    await bench.check([random_group(rng, 3, beat_bytes) for _ in range(5)])
