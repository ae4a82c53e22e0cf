"""Bench of `Scalars` with the statistics of several tokens, against `golden.scalars`."""

import dataclasses
import random

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

from tritstream.golden.scalars import reciprocal
from tritstream_hw.elements.layouts import scales_layout
from tritstream_hw.norm.scalars import FACTORS, ReciprocalsSignature, Scalars
from tritstream_hw.norm.statistics import StatisticsSignature
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import PERIOD, Source, reset, start_clock
from tritstream_sim.benches.norm.scalars import LEAD, RECIPROCAL_BUDGET, expected, random_case

UNITS = {2: (1, 1), 3: (3, 1), 5: (3, 2)}
"""Units for the scalars, and for the norms, by lanes of the device."""

ROOT = 69                       # cycles of a norm, and into where it is kept
RECIPROCALS = {1: 3 * 22, 3: RECIPROCAL_BUDGET[2]}      # of a token, by units
SCALES = {1: 3 * 22 + 1, 3: 23}


def components() -> dict[str, Scalars]:
    """Return the devices under test, called `t<lanes>`."""
    return {f"t{lanes}": Scalars(scalar_units=units, digit_bits=2, lead=LEAD, lanes=lanes,
                                 root_units=root_units)
            for lanes, (units, root_units) in UNITS.items()}


class Bench:
    """Starts a device with tokens and checks their results and when they come."""

    def __init__(self, dut, lanes: int):
        self.dut, self.lanes, self.slowest = dut, lanes, 0
        start_clock(dut)
        self.commands = Source(dut, f"t{lanes}__command", FACTORS)
        self.statistics = {name: Port(dut, f"t{lanes}__statistics__{name}", member.shape)
                           for name, member in StatisticsSignature(lanes).members.items()}
        self.numbers = Port(dut, f"t{lanes}__reciprocals__numbers",
                            ReciprocalsSignature(lanes).members["numbers"].shape)
        self.scales = Port(dut, f"t{lanes}__scales__payload", scales_layout(lanes))
        self.port("scales__ready").value = self.port("start").value = 0

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"t{self.lanes}__{name}"]

    async def begin(self, tokens, scales, ratio, floor, vectors):
        """Give the statistics, and the command some cycles later."""
        # What lanes without a token have means nothing.
        rest = [random_case()[0] for _ in range(self.lanes - len(tokens))]
        for name, port in self.statistics.items():
            port.value = [getattr(stats, name) for stats in [*tokens, *rest]]
        self.port("last").value = len(tokens) - 1
        self.port("start").value = 1
        await RisingEdge(self.dut.clk)
        self.port("start").value = 0
        await ClockCycles(self.dut.clk, random.choice((1, 5, random.randrange(1, 300))))
        self.commands.send([{
            "factors": [dataclasses.asdict(scale) for scale in scales],
            "ratio": dataclasses.asdict(ratio), "floor": dataclasses.asdict(floor),
            "separate": vectors == 3}])

    async def run(self, count: int):
        """Compute what a pass of so many tokens needs, and compare."""
        tokens, *header, wanted = random_tokens(count)
        await self.begin(tokens, *header)
        begun, valid = get_sim_time("ns"), self.port("scales__valid")
        while not valid.value:
            await valid.value_change
        cycles = (get_sim_time("ns") - begun) // PERIOD
        assert cycles <= self.budget(count), f"{count} tokens after {cycles} cycles"
        self.slowest = max(self.slowest, cycles)
        await RisingEdge(self.dut.clk)
        assert not self.commands.pending, "the command was not taken"
        await ClockCycles(self.dut.clk, random.choice((0, 0, 200)))     # while the scales wait
        got = [[(one.mantissa, one.shift) for one in token] for token in self.scales.value]
        assert got[:count] == wanted
        for token, stats in zip(self.numbers.value, tokens, strict=False):
            assert [one.factor for one in token] == [reciprocal(peak) for peak in stats.amax]
        assert valid.value == 1
        self.port("scales__ready").value = 1
        await RisingEdge(self.dut.clk)
        self.port("scales__ready").value = 0

    def budget(self, count: int) -> int:
        """Cycles of so many tokens: norms are made while others' reciprocals and scales are."""
        units, root_units = UNITS[self.lanes]
        of_units = -(-count // root_units)
        return max(of_units * ROOT + root_units * SCALES[units],
                   ROOT + count * SCALES[units],
                   count * (RECIPROCALS[units] + SCALES[units]))


def random_tokens(count: int):
    """Operands of so many tokens that share what a header has, and their scales."""
    while True:
        _, scales, ratio, floor, vectors = random_case()
        tokens = [random_case()[0] for _ in range(count)]
        wanted = [expected(stats, scales, ratio, floor, vectors) for stats in tokens]
        if None not in wanted:
            return tokens, scales, ratio, floor, vectors, wanted


@cocotb.test
@cocotb.parametrize(lanes=list(UNITS))
async def passes_of_any_number_of_tokens(dut, lanes):
    bench = Bench(dut, lanes)
    await reset(dut)
    for number in range(100):
        await bench.run(lanes if number % 3 else random.randint(1, lanes))
    dut._log.info("slowest: %d cycles", bench.slowest)


@cocotb.test
@cocotb.parametrize(lanes=list(UNITS), cycles=[1, 30, 50, 70, 90, 120, 150, 200])
async def a_reset_between_tokens(dut, lanes, cycles):
    """Nothing is left of what was made."""
    bench = Bench(dut, lanes)
    await reset(dut)
    *operands, _ = random_tokens(lanes)
    await bench.begin(*operands)
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    await ClockCycles(dut.clk, 300)
    assert bench.port("scales__valid").value == 0
    for count in (1, lanes):
        await bench.run(count)
