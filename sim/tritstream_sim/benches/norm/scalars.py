"""Bench of `Scalars` against `golden.scalars`."""

import dataclasses
import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

from tritstream.formats import FORMATS
from tritstream.golden.scalars import (
    NORM_BITS,
    Statistics,
    dequantiser,
    reciprocal,
    squared_norm,
)
from tritstream.image.tape import Scalar
from tritstream_hw.elements.layouts import scales_layout
from tritstream_hw.norm.scalars import FACTORS, ReciprocalsSignature, Scalars
from tritstream_hw.norm.statistics import StatisticsSignature
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import PERIOD, Source, reset, start_clock

MOST = (1 << FORMATS.product_bits - 1) - 1
DIGIT_BITS, UNITS = [1, 2], {1: 1, 2: 3}
LEAD = 7
RECIPROCAL_BUDGET, SCALES_BUDGET = {1: 31, 2: 22}, {1: 168, 2: 89}


def components() -> dict[str, Scalars]:
    """Return the devices under test, called `d<digit bits>`."""
    return {f"d{bits}": Scalars(scalar_units=UNITS[bits], digit_bits=bits, lead=LEAD)
            for bits in DIGIT_BITS}


def magnitude(bits: int) -> int:
    """Random number of any length up to `bits` bits."""
    return random.getrandbits(random.randint(0, bits))


def scalar(low: int, high: int) -> Scalar:
    """Random normalised mantissa, and an exponent."""
    return Scalar(random.randrange(1 << 15, 1 << 16), random.randint(low, high))


def expected(stats: Statistics, scales, ratio, floor, vectors):
    """Scales of the golden model; None if an operand does not fit, as `pack` sees to it."""
    try:
        norm = squared_norm(stats, ratio, floor)
        return [dequantiser(stats.amax[k if vectors == 3 else 0], norm, scale)
                for k, scale in enumerate(scales)]
    except OverflowError:
        return None


class Bench:
    """Starts a device and checks its results and when they come."""

    def __init__(self, dut, bits: int):
        self.dut, self.bits = dut, bits
        self.slowest = [0, 0]
        start_clock(dut)
        self.commands = Source(dut, f"d{bits}__command", FACTORS)
        self.peaks = Port(dut, f"d{bits}__statistics__amax",
                          StatisticsSignature().members["amax"].shape)
        self.reciprocals = Port(dut, f"d{bits}__reciprocals__numbers",
                                ReciprocalsSignature().members["numbers"].shape)
        self.scales = Port(dut, f"d{bits}__scales__payload", scales_layout(1))
        self.port("scales__ready").value = self.port("start").value = 0

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"d{self.bits}__{name}"]

    async def begin(self, stats, scales, ratio, floor, vectors, *, wait: int = 0) -> list[float]:
        """Give the statistics, and the command some cycles later; return when both came."""
        self.port("statistics__s1").value, self.port("statistics__s2").value = stats.s1, stats.s2
        self.peaks.value = [stats.amax]
        self.port("start").value = 1
        times = [get_sim_time("ns")]
        for _ in range(wait):
            await RisingEdge(self.dut.clk)
            self.port("start").value = 0
        times.append(get_sim_time("ns"))
        self.commands.send([{
            "factors": [dataclasses.asdict(scale) for scale in scales],
            "ratio": dataclasses.asdict(ratio), "floor": dataclasses.asdict(floor),
            "separate": vectors == 3}])
        await RisingEdge(self.dut.clk)
        self.port("start").value = 0
        return times

    async def run(self, stats, scales, ratio, floor, vectors=3):
        """Compute once and compare."""
        want = expected(stats, scales, ratio, floor, vectors)
        assert want is not None, "the operands of a test have to fit"
        clock, wait = RisingEdge(self.dut.clk), random.choice((0, 0, 5, random.randrange(40)))
        times = await self.begin(stats, scales, ratio, floor, vectors, wait=wait)
        reciprocals, scales_valid = self.port("reciprocals__coming"), self.port("scales__valid")
        await clock
        assert scales_valid.value == 0 and (wait or reciprocals.value == 0)
        budgets = RECIPROCAL_BUDGET[self.bits], SCALES_BUDGET[self.bits]
        for index, valid in enumerate((reciprocals, scales_valid)):
            while not int(valid.value) & 1:
                await valid.value_change
            cycles = -(-(get_sim_time("ns") - times[index]) // PERIOD)
            if not index:
                await self._check_reciprocals(stats)
                cycles += LEAD
            if index or not wait:
                assert cycles <= budgets[index], f"{valid._name} after {cycles} cycles"
                self.slowest[index] = max(self.slowest[index], cycles)
        await clock
        assert int(reciprocals.value) == 7 and scales_valid.value == 1
        assert not self.commands.pending, "the command was not taken"
        got = [(one.mantissa, one.shift) for one in self.scales.value[0]]
        assert got == want, (stats, scales, ratio, floor)
        self.port("scales__ready").value = 1
        await clock
        self.port("scales__ready").value = 0

    async def _check_reciprocals(self, stats):
        """Compare the first one, which is announced in this cycle; all a little later."""
        first, clock = self.reciprocals.value[0][0], RisingEdge(self.dut.clk)
        if stats.amax[0]:
            assert first.up == FORMATS.product_bits - stats.amax[0].bit_length()
        await ClockCycles(self.dut.clk, LEAD)
        await ReadOnly()
        assert self.reciprocals.value[0][0].factor == reciprocal(stats.amax[0])
        while int(self.port("reciprocals__coming").value) != 7:
            await clock
        await ClockCycles(self.dut.clk, LEAD + 1)
        for k, (got, peak) in enumerate(zip(self.reciprocals.value[0], stats.amax, strict=True)):
            assert got.factor == reciprocal(peak), f"reciprocal {k} of {peak}"
            if peak:
                assert got.up == FORMATS.product_bits - peak.bit_length()


async def start(dut, bits: int) -> Bench:
    """Return a bench after reset."""
    bench = Bench(dut, bits)
    await reset(dut)
    return bench


def random_case():
    """Operands that fit, of any order of magnitude, at the edges rather often."""
    while True:
        stats = Statistics(random.choice((0, magnitude(75), magnitude(75))), magnitude(75),
                           tuple(random.choice((0, 1, MOST, *(magnitude(47) for _ in range(9))))
                                 for _ in range(3)))
        scales = [random.choice((Scalar(), *(scalar(-70, 40) for _ in range(9))))
                  for _ in range(3)]
        ratio = random.choice((Scalar(), *(scalar(-110, 60) for _ in range(5))))
        floor = Scalar(random.randrange(1, 1 << 16), random.choice((0, random.randint(0, 60))))
        vectors = random.choice((1, 3))
        if expected(stats, scales, ratio, floor, vectors) is not None:
            return stats, scales, ratio, floor, vectors


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def random_operands(dut, bits):
    bench = await start(dut, bits)
    for _ in range(400):
        await bench.run(*random_case())
    dut._log.info("slowest: reciprocal %d, scales %d cycles", *bench.slowest)


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def every_length_of_every_operand(dut, bits):
    bench = await start(dut, bits)
    plain = Statistics(12345678901, 98765432101234, (1 << 20, 12345, 654321))
    scales, ratio, floor = [Scalar(40000, -20)] * 3, Scalar(50000, -12), Scalar(300, 0)
    for length in range(48):          # maxima, at both ends of their length
        for peak in {(1 << length) >> 1, (1 << length) - 1}:
            amax = (peak, 5, peak + 1 if peak < MOST else 0)
            await bench.run(Statistics(plain.s1, plain.s2, amax), scales, ratio, floor)
    for length in range(NORM_BITS):   # norms, through S2
        for s2 in {(1 << length) >> 1, (1 << length) - 1}:
            await bench.run(Statistics(0, s2, plain.amax), scales, ratio, Scalar(1, 0))
    for length in range(1, 76):       # S1, which a shift by any distance brings in
        await bench.run(Statistics((1 << length) - 1, 0, plain.amax), scales,
                        Scalar(0xFFFF, -14 - length // 2), Scalar(1, 0))


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def every_shift_of_the_ratio(dut, bits):
    bench = await start(dut, bits)
    scales, amax = [Scalar(0x8001, -24)] * 3, (99999, 1 << 30, 77)
    s1 = 0xFFFF << 20 | 0xFFFFF
    for exponent in range(-80, 28):         # the product is shifted by 20 more
        await bench.run(Statistics(s1, 0, amax), scales, Scalar(0xFFFF, exponent), Scalar(3, 0))
    await bench.run(Statistics(1 << 15, 0, amax), scales, Scalar(0x8000, 49), Scalar(1, 0))
    for exponent in (-32768, -300, 32767):  # far out: nothing is left, or nothing was there
        ratio = Scalar(0xFFFF if exponent < 0 else 0, exponent)
        await bench.run(Statistics(s1, 5, amax), scales, ratio, Scalar(3, 0))


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def every_exponent_of_floor_and_scale(dut, bits):
    bench = await start(dut, bits)
    for exponent in range(64):
        await bench.run(Statistics(0, 1, (1000, 2000, 3000)), [Scalar(0x8000, -exponent)] * 3,
                        Scalar(), Scalar(0xFFFF, exponent))
    stats = Statistics(0, 1 << 40, (1 << 20, 1 << 30, MOST))
    for exponent in (-32768, -200, *range(-80, -20)):
        scales = [Scalar(0x9000, exponent), Scalar(), Scalar(0xFFFF, max(exponent - 3, -32768))]
        await bench.run(stats, scales, Scalar(), Scalar(1, 0))


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def roots_of_squares_and_their_neighbours(dut, bits):
    bench = await start(dut, bits)
    for length in (17, 20, 33, 39):
        root = random.getrandbits(length) | 1 << length - 1
        for near in (-1, 0, 1):
            await bench.run(Statistics(0, root * root + near - 1, (MOST, 1, 1 << 40)),
                            [Scalar(0xFFFF, -30)] * 3, Scalar(), Scalar(1, 0))


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS)
async def the_slowest_operands_are_within_the_budget(dut, bits):
    bench = await start(dut, bits)
    # A maximum of 0 takes longest. Elsewhere distances of 15 modulo 16 do.
    for exponents in ((15, 0), (15, 15), (30, 31), (0, 47)):
        await bench.run(Statistics(1, 0, (0, 1, 3)), [Scalar(0x8000, -20)] * 3,
                        Scalar(0x8000, exponents[0]), Scalar(1, exponents[1]))
    assert bench.slowest[0] == RECIPROCAL_BUDGET[bits]
    dut._log.info("slowest: reciprocal %d, scales %d cycles", *bench.slowest)


@cocotb.test
@cocotb.parametrize(bits=DIGIT_BITS, cycles=[1, 2, 5, 9, 15, 28, 40, 60, 80, 95])
async def a_reset_in_mid_stream(dut, bits, cycles):
    bench = await start(dut, bits)
    await bench.begin(*random_case())
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    await ClockCycles(dut.clk, 120)
    assert bench.port("reciprocals__coming").value == 0 and bench.port("scales__valid").value == 0
    await bench.run(*random_case())
