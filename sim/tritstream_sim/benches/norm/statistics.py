"""Bench of `Statistics` against `golden.quantise.statistics`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

from tritstream.golden.quantise import statistics
from tritstream_hw.elements.layouts import results_layout
from tritstream_hw.norm.row_statistics import GAINS
from tritstream_hw.norm.statistics import Statistics, StatisticsSignature
from tritstream_sim.agents.block_ram import serve
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import reset, start_clock

KINDS = {
    "e1": {"element_width": 1}, "e4": {"element_width": 4},
    "shared": {"element_width": 1, "element_cycles": 4},
}
LATENCY = {"e1": 10, "e4": 12, "shared": 11}
S2_DELAY = {"e1": 4, "e4": 4, "shared": 0}      # of this, behind the strobe
ROWS = 4096
MOST, LEAST = (1 << 31) - 1, -(1 << 31)
GAIN_MOST, GAIN_LEAST = (1 << 15) - 1, -(1 << 15)
AMAX = StatisticsSignature().members["amax"].shape
NAMES = ("pre", "gain0", "gain1", "gain2")


def components() -> dict[str, Statistics]:
    """Return the devices under test."""
    return {kind: Statistics(**parameters) for kind, parameters in KINDS.items()}


def number(bits: int) -> int:
    """Random signed number of any order of magnitude up to `bits` bits."""
    return random.getrandbits(random.randint(0, bits - 1)) * random.choice((-1, 1))


class Bench:
    """Driver of elements, with the memory of the gain banks beside it."""

    def __init__(self, dut, kind: str):
        self.dut, self.edge, self.kind = dut, RisingEdge(dut.clk), kind
        self.width = width = KINDS[kind]["element_width"]
        self.cycles = KINDS[kind].get("element_cycles", 1)
        self.latency, self.s2_delay = LATENCY[kind], S2_DELAY[kind]
        self.gains = [dict.fromkeys(NAMES, 0)] * ROWS
        self.words = [0] * ROWS
        self.strobes = []       # times
        self.element = Port(dut, f"{kind}__i__payload", results_layout(width))
        self.peaks = Port(dut, f"{kind}__o__amax", AMAX)
        start_clock(dut)
        for port in ("i__valid", "i__payload", "clear", "use_pre"):
            self.port(port).value = 0
        serve(dut.clk, self.port("gains"), self._gains)
        cocotb.start_soon(self._count())

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"{self.kind}__{name}"]

    def _gains(self) -> int:
        first = self.element.value["word"] * self.width
        return sum(self.words[(first + n) % ROWS] << n * GAINS.size for n in range(self.width))

    async def _count(self):
        while True:
            await self.edge
            if self.port("done").value:
                self.strobes.append(get_sim_time())

    def load(self, gains):
        """Set the gains of the first rows: a list of dictionaries by name."""
        self.gains = gains
        self.words = [GAINS.const(gain).as_bits() for gain in gains]
        self.words += [0] * (ROWS - len(gains))

    async def clear(self):
        """Pulse `clear` for a cycle."""
        self.port("clear").value = 1
        await self.edge
        self.port("clear").value = 0

    def words_of(self, count: int, split: float) -> list[tuple[int, range]]:
        """Return words and their rows; some come in two parts, as they do where a block ends."""
        words = []
        for first in range(0, count, self.width):
            behind = min(first + self.width, count)
            middle = random.randrange(first, behind) if random.random() < split else first
            words += [(first // self.width, rows)
                      for rows in (range(first, middle), range(middle, behind)) if rows]
        return words

    async def send(self, elements, *, gap=0.0, last=True, clear=False):
        """Send (value, first) pairs as rows 0, 1, …; `clear` comes together with the first."""
        for word, rows in self.words_of(len(elements), gap):
            if rows[0] and self.cycles > 1:
                await ClockCycles(self.dut.clk, self.cycles - 1)
            while random.random() < gap:
                await self.edge
            lanes = [{"value": number(32), "first": number(32)} for _ in range(self.width)]
            for row in rows:
                lanes[row % self.width] = dict(zip(("value", "first"), elements[row], strict=True))
            self.element.value = {
                "rows": lanes, "word": word, "last": last and rows[-1] == len(elements) - 1,
                "live": sum(1 << row % self.width for row in rows)}
            self.port("i__valid").value = 1
            self.port("clear").value = clear and rows[0] == 0
            await self.edge
            self.port("i__valid").value = 0
            self.port("clear").value = 0
            self.element.poison()

    async def done(self):
        """Wait for the strobe; return in how many cycles it came. Results are checked in it."""
        for cycles in range(1, self.latency + 2):
            await self.edge
            if self.port("done").value:
                return cycles
        raise AssertionError("never done")

    def check(self, elements, *, pre, s2=True):
        """Compare the results with the golden model's, or those but `s2`."""
        value, divided = np.array(elements, np.int64).T[:, None]
        gains = {name: np.array([gain[name] for gain in self.gains[:len(elements)]], np.int64)
                 for name in NAMES}
        (want,) = statistics(value, divided, gains["pre"] if pre else None,
                             [gains[name] for name in NAMES[1:]])
        got = int(self.port("o__s1").value), tuple(self.peaks.value[0])
        assert got == (want.s1, want.amax)
        if s2:
            assert int(self.port("o__s2").value) == want.s2

    async def vector(self, elements, gains, *, pre=1, **options):
        """Send a vector and check everything about it."""
        self.load(gains)
        self.port("use_pre").value = pre
        begin = get_sim_time()
        await self.send(elements, **options)
        assert await self.done() == self.latency - self.s2_delay
        self.check(elements, pre=pre, s2=False)
        if self.s2_delay:
            await ClockCycles(self.dut.clk, self.s2_delay)
        self.check(elements, pre=pre)
        await ClockCycles(self.dut.clk, 3)
        self.check(elements, pre=pre)      # they stay
        assert sum(time > begin for time in self.strobes) == 1


async def start(dut, kind: str) -> Bench:
    """Return a bench after reset."""
    bench = Bench(dut, kind)
    await reset(dut)
    return bench


def random_vector(count: int, bits: int = 32):
    """Elements and gains of any order of magnitude."""
    elements = [(number(bits), number(32)) for _ in range(count)]
    return elements, [{name: number(16) for name in NAMES} for _ in range(count)]


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), gap=[0.0, 0.5], pre=[0, 1])
async def random_vectors(dut, kind, gap, pre):
    bench = await start(dut, kind)
    for count in (1, 2, 3, 17, 60):
        await bench.vector(*random_vector(count, random.randint(1, 32)), pre=pre, gap=gap,
                           clear=True)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), pre=[0, 1])
async def extremes(dut, kind, pre):
    bench = await start(dut, kind)
    for value in (MOST, LEAST + 1, LEAST, 0, -1, 1):
        for gain in (GAIN_MOST, GAIN_LEAST, 0, -1, 1):
            if pre and (value, gain) == (LEAST, GAIN_LEAST):
                continue            # the one product that does not fit
            await bench.vector([(value, value), (0, 0)], [dict.fromkeys(NAMES, gain)] * 2, pre=pre,
                               clear=True)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS))
async def rounding_of_the_first_gain(dut, kind):
    bench = await start(dut, kind)
    values = [half + near for half in (1 << 14, 3 << 14, -(1 << 14), -(3 << 14))
              for near in (-1, 0, 1)]
    for value in values:            # one by one, so that errors cannot cancel
        await bench.vector([(value, 0)], [dict.fromkeys(NAMES, 1)], clear=True)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), name=NAMES[1:])
async def each_gain_has_its_own_maximum(dut, kind, name):
    bench = await start(dut, kind)
    gains = [dict.fromkeys(NAMES, 1) | {name: 3 + n} for n in (0, 5, 2)]
    await bench.vector([(7, 1), (-7, 1), (7, 1)], gains, clear=True)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS))
async def a_long_vector_of_largest_numbers(dut, kind):
    bench = await start(dut, kind)
    gains = [dict.fromkeys(NAMES, GAIN_MOST)] * ROWS
    await bench.vector([(LEAST, LEAST)] * ROWS, gains, pre=0, clear=True)


@cocotb.test
@cocotb.parametrize(kind=list(KINDS))
async def a_word_per_cycle_and_the_next_vector_at_once(dut, kind):
    bench = await start(dut, kind)
    elements, gains = random_vector(50)
    bench.load(gains)
    bench.port("use_pre").value = 1
    for _ in range(3):
        await ClockCycles(dut.clk, bench.cycles)
        await bench.send(elements, clear=True)
        begin = get_sim_time()
        await ClockCycles(dut.clk, bench.latency - 1)
        # From this cycle on all results are there; the next element may come in it.
        send = cocotb.start_soon(bench.send(elements[:20], clear=True, last=False))
        await bench.edge
        bench.check(elements, pre=1)
        await send
        assert sum(time > begin for time in bench.strobes) == 1


@cocotb.test
@cocotb.parametrize(kind=list(KINDS), how=["clear", "reset"], cycles=list(range(14)))
async def forgets_what_is_on_its_way(dut, kind, how, cycles):
    bench = await start(dut, kind)
    elements, gains = random_vector(12)
    bench.load(gains)
    bench.port("use_pre").value = 1
    await bench.send(elements)
    if cycles:
        await ClockCycles(dut.clk, cycles)
    if how == "clear":
        await bench.clear()
    else:
        await reset(dut)
    begin = get_sim_time()
    await ClockCycles(dut.clk, bench.latency + 2)
    assert not [time for time in bench.strobes if time > begin]
    for port in ("o__s1", "o__s2", "o__amax"):
        assert int(bench.port(port).value) == 0
    await bench.vector(*random_vector(9))
