"""Bench of `TopK`, `TopKChain` and `TopKTable`, which have to be a stable sort."""

import itertools
import random

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from tritstream.build import BuildConfig
from tritstream_hw.construct import construct
from tritstream_hw.head.chain import TopKChain
from tritstream_hw.head.table import TopKTable
from tritstream_hw.head.topk import TopK, best_layout, logit_layout
from tritstream_sim.agents.payload import as_signed
from tritstream_sim.agents.stream import (
    SOURCE_PAUSES,
    Monitor,
    Source,
    reset,
    stall,
    start_clock,
)

LISTS, CHAINS = {"list1": 1, "list4": 4, "list16": 16}, {"chain4": 4, "chain16": 16}
TABLES = {"table1": 1, "table5": 5}
CANDIDATES = LISTS | CHAINS | TABLES
SHARED = {"lists": TopK, "tables": TopKTable}
"""Devices for several tokens, by name."""

LANES, OF_EACH = 3, 4


def config(candidates: int) -> BuildConfig:
    """Return a configuration with narrow sums, so that logits collide."""
    return BuildConfig(beat_bytes=4, vector_width=1, candidates=candidates, max_hidden=64,
                       max_intermediate=64)


def components() -> dict[str, TopK | TopKChain | TopKTable]:
    """Return the devices under test."""
    kinds = ((TopK, LISTS), (TopKChain, CHAINS), (TopKTable, TABLES))
    return {**{name: construct(kind, config(count))
               for kind, counts in kinds for name, count in counts.items()},
            **{name: kind(acc_bits=config(1).acc_bits, candidates=OF_EACH, lanes=LANES)
               for name, kind in SHARED.items()}}


class Bench:
    """Agents at one of the devices."""

    def __init__(self, dut, name: str, *, i_stall=0.0, burst=1):
        self.dut, self.name, self.config = dut, name, config(CANDIDATES[name])
        self.source = Source(dut, f"{self.name}__i", logit_layout(self.config.acc_bits),
                             stall=stall(i_stall, burst))
        self.watch = Monitor(dut, f"{self.name}__i")
        self.port("clear").value = 0
        self.port("index").value = 0

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"{self.name}__{name}"]

    async def clear(self):
        """Pulse `clear` for a cycle."""
        self.port("clear").value = 1
        await RisingEdge(self.dut.clk)
        self.port("clear").value = 0

    async def rank(self, logits, rows=None):
        """Send logits, wait until the device says that it is done, and check every candidate."""
        rows = rows or range(len(logits))
        self.source.send(
            {"acc": acc, "row": row, "last": n == len(logits) - 1}
            for n, (acc, row) in enumerate(zip(logits, rows, strict=True)))
        await self.source.sent()
        cycles = 0
        while not self.port("settled").value:
            await RisingEdge(self.dut.clk)
            cycles += 1
            assert cycles <= self.config.candidates + 2, "never settled"
        await self.check(logits, rows)

    async def check(self, logits, rows):
        """Compare all candidates, and the indices behind the last."""
        ranked = sorted(zip(logits, rows, strict=True), key=lambda pair: -pair[0])
        for index in [*range(self.config.candidates), self.config.candidates, 255]:
            self.port("index").value = index
            await ClockCycles(self.dut.clk, 2)
            best = best_layout(self.config.acc_bits).from_bits(int(self.port("best").value))
            there = index < min(len(ranked), self.config.candidates)
            assert best.valid == there, f"candidate {index}: valid is {best.valid}"
            if there:
                got = (best.acc, best.token)
                assert got == ranked[index], f"candidate {index}: {got}, not {ranked[index]}"


async def start(dut, name: str, **stalls) -> Bench:
    """Return a bench after reset."""
    start_clock(dut)
    bench = Bench(dut, name, **stalls)
    await reset(dut)
    return bench


@cocotb.test
@cocotb.parametrize((("i_stall", "burst"), SOURCE_PAUSES), name=list(CANDIDATES),
                    spread=[0, 2, 8000])
async def the_best_in_order(dut, name, i_stall, burst, spread):
    bench = await start(dut, name, i_stall=i_stall, burst=burst)
    for _ in range(8):
        await bench.rank([random.randint(-spread, spread) for _ in range(100)])
        await bench.clear()


@cocotb.test
@cocotb.parametrize(name=list(CANDIDATES))
async def rising_falling_and_extreme(dut, name):
    bench = await start(dut, name)
    bits = bench.config.acc_bits
    low, high = as_signed(1 << bits - 1, bits), (1 << bits - 1) - 1
    for logits in (range(-50, 50), range(50, -50, -1), [low, high, -1, 0, 1] * 10, [low], [high],
                   [7, 7, 9, 7, 9, 7, 11, 9, 7]):
        await bench.rank(list(logits))
        await bench.clear()


@cocotb.test
@cocotb.parametrize(name=list(CANDIDATES), count=[1, 3, 4, 5, 17])
async def few_logits(dut, name, count):
    bench = await start(dut, name)
    await bench.rank([random.randint(-3, 3) for _ in range(count)],
                     sorted(random.sample(range(1 << 16), count)))


@cocotb.test
@cocotb.parametrize(name=list(LISTS))
async def a_cycle_for_each_and_one_for_each_that_is_worse(dut, name):
    """What is not among the best takes a cycle, what is one more, and one for what it displaces."""
    bench = await start(dut, name)
    logits = [random.randint(-90, 90) for _ in range(200)]
    await bench.rank(logits)
    due, kept, candidates = [0], [], CANDIDATES[name]
    for logit in logits:
        behind = sum(other < logit for other in kept)
        if len(kept) < candidates or behind:
            spent = 2 + (behind if len(kept) < candidates else behind - 1)
            kept = sorted([*kept, logit], reverse=True)[:candidates]
        else:
            spent = 1
        due.append(due[-1] + spent)
    first = bench.watch.cycles[0]
    assert bench.watch.cycles == [first + cycle for cycle in due[:-1]]


@cocotb.test
@cocotb.parametrize(name=[*CHAINS, *TABLES])
async def a_logit_per_cycle(dut, name):
    bench = await start(dut, name)
    await bench.rank([random.randint(-9, 9) for _ in range(200)])
    first = bench.watch.cycles[0]
    assert bench.watch.cycles == list(range(first, first + 200))


@cocotb.test
@cocotb.parametrize(name=list(CANDIDATES))
async def settles_when_the_last_logit_is_in_its_place(dut, name):
    bench = await start(dut, name)
    bench.source.send([{"acc": 1, "row": 0, "last": 0}])
    await ClockCycles(dut.clk, 2 * CANDIDATES[name] + 4)
    assert bench.port("settled").value == 0
    bench.source.send([{"acc": 2, "row": 1, "last": 1}])
    await bench.source.sent()
    cycles = 0
    while not bench.port("settled").value:
        await RisingEdge(dut.clk)
        cycles += 1
    kept = CANDIDATES[name]
    assert cycles == 1 + (1 if name in TABLES else min(2, kept) if name in LISTS else kept)
    await bench.check([1, 2], [0, 1])


@cocotb.test
@cocotb.parametrize(name=list(CANDIDATES), how=["clear", "reset"], cycles=[1, 2, 5, 20])
async def forgets_what_is_on_its_way(dut, name, how, cycles):
    bench = await start(dut, name)
    bench.source.send({"acc": 100 + n, "row": n, "last": n % 4 == 3} for n in range(60))
    await ClockCycles(dut.clk, cycles)
    if how == "clear":
        while len(bench.source.pending) > 1:        # but for what is offered
            bench.source.pending.pop()
        await bench.source.sent()
        await bench.clear()
    else:
        await reset(dut)
    await ClockCycles(dut.clk, CANDIDATES[name] + 4)
    assert bench.port("settled").value == 0
    await bench.check([], [])
    await bench.rank([3, 5, 4])


@cocotb.test
@cocotb.parametrize((("i_stall", "burst"), SOURCE_PAUSES), name=list(SHARED), spread=[2, 8000])
async def tokens_are_ranked_apart(dut, name, i_stall, burst, spread):
    """Each with candidates of its own, whosever logits come before."""
    start_clock(dut)
    bits = config(1).acc_bits
    source = Source(dut, f"{name}__i", logit_layout(bits, LANES), stall=stall(i_stall, burst))
    clear, index, lane, settled, best = (
        dut[f"{name}__{port}"] for port in ("clear", "index", "lane", "settled", "best"))
    clear.value = index.value = lane.value = 0
    await reset(dut)
    for count in (2, 30, 100):
        logits = [[random.randint(-spread, spread) for _ in range(count)] for _ in range(LANES)]
        # Some rows of each token in turn, of which none has to wait for another's.
        order = [(n, row) for first in range(0, count, 3) for n in range(LANES)
                 for row in range(first, min(first + 3, count))]
        source.send({"acc": logits[n][row], "row": row, "lane": n, "last": (n, row) == order[-1]}
                    for n, row in order)
        await source.sent()
        while not settled.value:
            await RisingEdge(dut.clk)
        for n, place in itertools.product(range(LANES), range(OF_EACH)):
            lane.value, index.value = n, place
            await ClockCycles(dut.clk, 2)
            got = best_layout(bits).from_bits(int(best.value))
            ranked = sorted(enumerate(logits[n]), key=lambda pair: -pair[1])
            assert got.valid == (place < count)
            if got.valid:
                assert (got.token, got.acc) == ranked[place], f"candidate {place} of token {n}"
        clear.value = 1
        await RisingEdge(dut.clk)
        clear.value = 0
