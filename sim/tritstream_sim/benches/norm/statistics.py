"""Bench of `Statistics` against `golden.quantise.statistics`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

from tritstream.golden.quantise import statistics
from tritstream_hw.elements.layouts import RESULT
from tritstream_hw.norm.statistics import GAINS, Statistics, StatisticsSignature
from tritstream_sim.agents.block_ram import serve
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import reset, start_clock

LATENCY = 10
ROWS = 4096
MOST, LEAST = (1 << 31) - 1, -(1 << 31)
GAIN_MOST, GAIN_LEAST = (1 << 15) - 1, -(1 << 15)
AMAX = StatisticsSignature().members["amax"].shape
NAMES = ("pre", "gain0", "gain1", "gain2")


def component() -> Statistics:
    """Return the device under test."""
    return Statistics()


def number(bits: int) -> int:
    """Random signed number of any order of magnitude up to `bits` bits."""
    return random.getrandbits(random.randint(0, bits - 1)) * random.choice((-1, 1))


class Bench:
    """Driver of elements, with the memory of the gain banks beside it."""

    def __init__(self, dut):
        self.dut, self.edge = dut, RisingEdge(dut.clk)
        self.gains = [dict.fromkeys(NAMES, 0)] * ROWS
        self.words = [0] * ROWS
        self.strobes = []       # times
        self.element, self.peaks = Port(dut, "i__payload", RESULT), Port(dut, "o__amax", AMAX)
        start_clock(dut)
        for port in ("i__valid", "i__payload", "clear", "use_pre"):
            dut[port].value = 0
        serve(dut.clk, dut.gains__data, lambda: self.words[int(dut.gains__addr.value) % ROWS])
        cocotb.start_soon(self._count())

    async def _count(self):
        while True:
            await self.edge
            if self.dut.done.value:
                self.strobes.append(get_sim_time())

    def load(self, gains):
        """Set the gains of the first rows: a list of dictionaries by name."""
        self.gains = gains
        self.words = [GAINS.const(gain).as_bits() for gain in gains]
        self.words += [0] * (ROWS - len(gains))

    async def clear(self):
        """Pulse `clear` for a cycle."""
        self.dut.clear.value = 1
        await self.edge
        self.dut.clear.value = 0

    async def send(self, elements, *, gap=0.0, last=True, clear=False):
        """Send (value, first) pairs as rows 0, 1, …; `clear` comes together with the first."""
        dut = self.dut
        for row, (value, first) in enumerate(elements):
            while random.random() < gap:
                await self.edge
            self.element.value = {"value": value, "first": first, "row": row,
                                  "last": last and row == len(elements) - 1}
            dut.i__valid.value = 1
            dut.clear.value = clear and not row
            await self.edge
            dut.i__valid.value = 0
            dut.clear.value = 0
            self.element.poison()

    async def done(self):
        """Wait for the strobe; return in how many cycles it came. Results are checked in it."""
        for cycles in range(1, LATENCY + 2):
            await self.edge
            if self.dut.done.value:
                return cycles
        raise AssertionError("never done")

    def check(self, elements, *, pre):
        """Compare the results with the golden model's."""
        value, divided = np.array(elements, np.int64).T[:, None]
        gains = {name: np.array([gain[name] for gain in self.gains[:len(elements)]], np.int64)
                 for name in NAMES}
        (want,) = statistics(value, divided, gains["pre"] if pre else None,
                             [gains[name] for name in NAMES[1:]])
        got = (int(self.dut.o__s1.value), int(self.dut.o__s2.value), tuple(self.peaks.value))
        assert got == (want.s1, want.s2, want.amax)

    async def vector(self, elements, gains, *, pre=1, **options):
        """Send a vector and check everything about it."""
        self.load(gains)
        self.dut.use_pre.value = pre
        begin = get_sim_time()
        await self.send(elements, **options)
        assert await self.done() == LATENCY
        self.check(elements, pre=pre)
        await ClockCycles(self.dut.clk, 3)
        self.check(elements, pre=pre)      # they stay
        assert sum(time > begin for time in self.strobes) == 1


async def start(dut) -> Bench:
    """Return a bench after reset."""
    bench = Bench(dut)
    await reset(dut)
    return bench


def random_vector(count: int, bits: int = 32):
    """Elements and gains of any order of magnitude."""
    elements = [(number(bits), number(32)) for _ in range(count)]
    return elements, [{name: number(16) for name in NAMES} for _ in range(count)]


@cocotb.test
@cocotb.parametrize(gap=[0.0, 0.5], pre=[0, 1])
async def random_vectors(dut, gap, pre):
    bench = await start(dut)
    for count in (1, 2, 3, 17, 60):
        await bench.vector(*random_vector(count, random.randint(1, 32)), pre=pre, gap=gap,
                           clear=True)


@cocotb.test
@cocotb.parametrize(pre=[0, 1])
async def extremes(dut, pre):
    bench = await start(dut)
    for value in (MOST, LEAST + 1, LEAST, 0, -1, 1):
        for gain in (GAIN_MOST, GAIN_LEAST, 0, -1, 1):
            if pre and (value, gain) == (LEAST, GAIN_LEAST):
                continue            # the one product that does not fit
            await bench.vector([(value, value), (0, 0)], [dict.fromkeys(NAMES, gain)] * 2, pre=pre,
                               clear=True)


@cocotb.test
async def rounding_of_the_first_gain(dut):
    bench = await start(dut)
    values = [half + near for half in (1 << 14, 3 << 14, -(1 << 14), -(3 << 14))
              for near in (-1, 0, 1)]
    for value in values:            # one by one, so that errors cannot cancel
        await bench.vector([(value, 0)], [dict.fromkeys(NAMES, 1)], clear=True)


@cocotb.test
@cocotb.parametrize(name=NAMES[1:])
async def each_gain_has_its_own_maximum(dut, name):
    bench = await start(dut)
    gains = [dict.fromkeys(NAMES, 1) | {name: 3 + n} for n in (0, 5, 2)]
    await bench.vector([(7, 1), (-7, 1), (7, 1)], gains, clear=True)


@cocotb.test
async def a_long_vector_of_largest_numbers(dut):
    bench = await start(dut)
    gains = [dict.fromkeys(NAMES, GAIN_MOST)] * ROWS
    await bench.vector([(LEAST, LEAST)] * ROWS, gains, pre=0, clear=True)


@cocotb.test
async def an_element_per_cycle_and_the_next_vector_at_once(dut):
    bench = await start(dut)
    elements, gains = random_vector(50)
    bench.load(gains)
    dut.use_pre.value = 1
    for _ in range(3):
        await bench.send(elements, clear=True)
        await ClockCycles(dut.clk, LATENCY - 1)
        # This is the cycle of the strobe; the next element may come in it.
        send = cocotb.start_soon(bench.send(elements[:20], clear=True, last=False))
        await bench.edge
        assert dut.done.value
        bench.check(elements, pre=1)
        await send


@cocotb.test
@cocotb.parametrize(how=["clear", "reset"], cycles=list(range(LATENCY + 2)))
async def forgets_what_is_on_its_way(dut, how, cycles):
    bench = await start(dut)
    elements, gains = random_vector(12)
    bench.load(gains)
    dut.use_pre.value = 1
    await bench.send(elements)
    if cycles:
        await ClockCycles(dut.clk, cycles)
    if how == "clear":
        await bench.clear()
    else:
        await reset(dut)
    begin = get_sim_time()
    await ClockCycles(dut.clk, LATENCY + 2)
    assert not [time for time in bench.strobes if time > begin]
    for port in (dut.o__s1, dut.o__s2, dut.o__amax):
        assert int(port.value) == 0
    await bench.vector(*random_vector(9))
