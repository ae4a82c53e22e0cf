"""Bench of `Head` at several widths, against a stable sort."""

import random

import cocotb
from amaranth import signed
from cocotb.triggers import ClockCycles

from tritstream.build import BuildConfig
from tritstream_hw.construct import construct
from tritstream_hw.elements.layouts import scales_layout
from tritstream_hw.gemv.layouts import rows_layout, sums_layout
from tritstream_hw.head.head import RANKING, Head
from tritstream_hw.ports import BEST, to_host_layout
from tritstream_sim.agents.payload import as_signed
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import PAUSES, Monitor, Sink, Source, reset, stall, start_clock

WIDTHS = [1, 2, 4]
CANDIDATES = 5


def config(width: int) -> BuildConfig:
    """Return a configuration with narrow sums, so that logits collide."""
    return BuildConfig(beat_bytes=4, vector_width=4, element_width=width, candidates=CANDIDATES,
                       max_hidden=64, max_intermediate=64)


def components() -> dict[str, Head]:
    """Return the devices under test, called `e<E>`."""
    return {f"e{width}": construct(Head, config(width)) for width in WIDTHS}


class Bench:
    """Agents at the head of this width."""

    def __init__(self, dut, width: int, *, i_stall=0.0, o_stall=0.0, burst=1):
        self.dut, self.width, self.config = dut, width, config(width)
        self.name, layout = f"e{width}", sums_layout(self.config.acc_bits, width)
        self.sums = Source(dut, f"{self.name}__sums", layout, stall=stall(i_stall, burst))
        self.commands = Source(dut, f"{self.name}__command", RANKING)
        self.scales = Source(dut, f"{self.name}__scales", scales_layout(1))
        self.host = Sink(dut, f"{self.name}__logits", to_host_layout(1),
                         stall=stall(o_stall, burst))
        self.watch = Monitor(dut, f"{self.name}__sums")
        self.best = Port(dut, f"{self.name}__best", BEST)
        self.ranked = Port(dut, f"{self.name}__ranked__payload", rows_layout(signed(32), width))
        self.ranked_valid = Port(dut, f"{self.name}__ranked__valid")
        self.index = Port(dut, f"{self.name}__index")
        self.index.value = 0
        self.taken = []
        cocotb.start_soon(self._follow())

    async def _follow(self):
        """Collect what goes into the digest."""
        while True:
            await self.sums.edge
            if self.ranked_valid.value:
                word = self.ranked.value
                self.taken += [logit for n, logit in enumerate(word.rows) if word.live >> n & 1]

    def words(self, logits: list[int]) -> list[dict]:
        """Return words as the serialiser makes them, of blocks of five rows."""
        words, width = [], self.width
        for first in range(0, len(logits), 5):
            behind = min(first + 5, len(logits))
            for word in range(first // width, (behind - 1) // width + 1):
                there = range(max(first, word * width), min(behind, (word + 1) * width))
                noise = [random.randint(-999, 999) for _ in range(3 * width)]
                rows = [noise[3 * n:3 * n + 3] for n in range(width)]
                for row in there:
                    rows[row % width][0] = logits[row]
                words.append({"rows": rows, "word": word, "last": there[-1] == len(logits) - 1,
                              "live": sum(1 << row % width for row in there)})
        return words

    async def rank(self, logits: list[int], *, to_host: bool):
        """Play a pass's logits and compare everything."""
        self.taken.clear()
        self.commands.send([{"logits": to_host}])
        self.scales.send([[[{"mantissa": 1, "shift": 1}] * 3]])
        self.sums.send(self.words(logits))
        if to_host:
            assert [one.acc for one in await self.host.take(len(logits))] == logits
        await self.commands.sent()
        assert self.taken == logits
        ranked = sorted(enumerate(logits), key=lambda pair: -pair[1])
        for index in range(CANDIDATES):
            self.index.value = index
            await ClockCycles(self.dut.clk, 2)
            best = self.best.value
            assert best.valid == (index < len(ranked))
            if best.valid:
                assert (best.token, best.acc) == ranked[index], f"candidate {index} of {logits}"
        await self.host.nothing_more()


async def start(dut, width: int, **stalls) -> Bench:
    """Return a bench after reset."""
    start_clock(dut)
    bench = Bench(dut, width, **stalls)
    await reset(dut)
    return bench


@cocotb.test
@cocotb.parametrize((("i_stall", "o_stall", "burst"), PAUSES), width=WIDTHS, to_host=[0, 1])
async def ranks_what_it_takes(dut, width, to_host, i_stall, o_stall, burst):
    bench = await start(dut, width, i_stall=i_stall, o_stall=o_stall, burst=burst)
    for spread in (0, 2, 4000):
        for count in (1, 3, 7, 60):
            await bench.rank([random.randint(-spread, spread) for _ in range(count)],
                             to_host=bool(to_host))


@cocotb.test
@cocotb.parametrize(width=WIDTHS)
async def rising_falling_and_extreme(dut, width):
    bench = await start(dut, width)
    bits = bench.config.acc_bits
    low, high = as_signed(1 << bits - 1, bits), (1 << bits - 1) - 1
    for logits in (range(-50, 50), range(50, -50, -1), [low, high, -1, 0, 1] * 10, [low], [high],
                   [7, 7, 9, 7, 9, 7, 11, 9, 7], [low] * 23):
        await bench.rank(list(logits), to_host=False)


@cocotb.test
@cocotb.parametrize(width=WIDTHS)
async def a_word_per_cycle_once_the_best_are_known(dut, width):
    bench = await start(dut, width)
    logits = list(range(1000, 900, -1))
    await bench.rank(logits, to_host=False)
    cycles = bench.watch.cycles
    late = cycles[2 * CANDIDATES + 5:]
    assert late == list(range(late[0], late[0] + len(late)))


@cocotb.test
@cocotb.parametrize(width=WIDTHS, cycles=[1, 2, 5, 12])
async def reset_forgets_everything(dut, width, cycles):
    bench = await start(dut, width)
    bench.commands.send([{"logits": 0}])
    bench.scales.send([[[{"mantissa": 1, "shift": 1}] * 3]])
    bench.sums.send(bench.words([random.randint(-99, 99) for _ in range(80)]))
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    await bench.rank([random.randint(-99, 99) for _ in range(40)], to_host=True)
