"""Bench of `Quantiser` at several widths, against `golden.quantise.quantise`."""

import random

import cocotb
import numpy as np
from amaranth import signed
from amaranth.lib import data
from cocotb.triggers import ClockCycles, RisingEdge

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.golden.quantise import quantise
from tritstream.golden.scalars import reciprocal
from tritstream_hw.construct import construct
from tritstream_hw.gemv.feeder import available_layout
from tritstream_hw.norm.quantiser import Quantiser, quantise_layout
from tritstream_hw.norm.scalars import ReciprocalsSignature
from tritstream_sim.agents.block_ram import serve
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import Source, reset, start_clock

LATENCY, RECIPROCAL_DELAY = 11, 7
SIZES = [(1, 1), (4, 4), (8, 16), (8, 64)]      # V, P
MOST, LEAST = (1 << 31) - 1, -(1 << 31)


def config(vector_width: int, beat_bytes: int) -> BuildConfig:
    """Return a configuration with small memories."""
    return BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width, max_hidden=100,
                       max_intermediate=256)


def name(vector_width: int, beat_bytes: int) -> str:
    """Name of the device of this size."""
    return f"v{vector_width}p{beat_bytes}"


def components() -> dict[str, Quantiser]:
    """Return the devices under test."""
    return {name(*size): construct(Quantiser, config(*size)) for size in SIZES}


def packed(numbers, bits: int) -> int:
    """Pack numbers into a port."""
    return sum((number & (1 << bits) - 1) << bits * k for k, number in enumerate(numbers))


class Bench:
    """A device with its memories, and a record of what it writes and when."""

    def __init__(self, dut, vector_width: int, beat_bytes: int):
        self.dut, self.name = dut, name(vector_width, beat_bytes)
        self.config = config(vector_width, beat_bytes)
        self.edge = RisingEdge(dut.clk)
        self.vector = np.zeros(self.config.vector_elements, np.int64)
        self.gains = np.zeros((3, self.config.max_columns), np.int64)
        self.cycle, self.writes, self.reads = 0, [], []
        start_clock(dut)
        self.commands = Source(dut, f"{self.name}__command", quantise_layout(
            vector_elements=self.config.vector_elements, column_words=self.config.column_words,
            vector_width=self.config.vector_width))
        self.reciprocals, self.available, self.activations = (
            Port(dut, f"{self.name}__{port}", shape) for port, shape in (
                ("reciprocals__numbers", ReciprocalsSignature().members["numbers"].shape),
                ("available", available_layout(self.config.column_beats)),
                ("write__data", data.ArrayLayout(signed(8), vector_width))))
        self.offer([], valid=0)
        serve(dut.clk, self.port("vector__data"), self._read_vector)
        serve(dut.clk, self.port("gain__data"), self._read_gain, cycles=2)
        cocotb.start_soon(self._record())

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"{self.name}__{name}"]

    def _word(self, memory, address: int, bits: int) -> int:
        count = self.config.vector_width
        first = address * count
        return packed(memory[first:first + count].tolist(), bits)

    def _read_vector(self):
        return self._word(self.vector, int(self.port("vector__addr").value), FORMATS.vector_bits)

    def _read_gain(self):
        words = 1 << len(self.port("gain__addr")) - 2
        bank, address = divmod(int(self.port("gain__addr").value), words)
        return self._word(self.gains[min(bank, 2)], address, FORMATS.gain_bits)

    async def _record(self):
        beat = self.config.beat_bytes // self.config.vector_width
        counts, words = [0, 0, 0], [0, 0, 0]
        while True:
            await self.edge
            self.cycle += 1
            if self.port("command__valid").value and self.port("command__ready").value:
                self.taken = self.cycle
                words = [0, 0, 0]
            if self.dut.rst.value:
                words = counts = [0, 0, 0]
                continue
            if self.cycle > 1:
                got = list(self.available.value)
                assert got == counts, f"{got} beats are available, {counts} written"
            if self.port("reading").value:
                self.reads.append(self.cycle)
            if self.port("write__en").value:
                vector = int(self.port("write__vector").value)
                address = int(self.port("write__address").value)
                assert address == words[vector], "words are written in order, each once"
                words[vector] += 1
                self.writes.append((self.cycle, vector, address, list(self.activations.value)))
            counts = [count // beat for count in words]

    def load(self, vectors, *, base=0, columns=None, peak=None):
        """Fill the memories at random; return the maxima."""
        columns = columns or self.config.max_columns
        value = self.vector[base:base + columns]
        value[:] = [random.getrandbits(random.randint(0, 31)) * random.choice((1, -1))
                    for _ in range(columns)]
        for gain in self.gains:
            gain[:] = [random.getrandbits(random.randint(0, 15)) * random.choice((1, -1))
                       for _ in range(len(gain))]
        return [int(np.abs(value * gain[:columns]).max()) for gain in self.gains[:vectors]]

    def offer(self, peaks, valid=None):
        """Set the reciprocals of these maxima."""
        self.reciprocals.value = [[
            {"factor": reciprocal(peak), "up": 48 - peak.bit_length()} for peak in peaks]]
        self.port("reciprocals__coming").value = (1 << len(peaks)) - 1 if valid is None else valid

    def command(self, vectors, *, base=0, columns=None):
        """Send a command; return the number of words of each vector."""
        count = self.config.vector_width
        columns = columns or self.config.max_columns
        beats = -(-columns // self.config.beat_bytes)
        words = beats * self.config.beat_bytes // count
        self.commands.send([{"base": base // count, "words": words, "vectors": vectors}])
        return words

    async def written(self, count):
        """Wait for so many writes; take them."""
        for _ in range(count + 200):
            if len(self.writes) >= count:
                break
            await self.edge
        await ClockCycles(self.dut.clk, 3)
        assert len(self.writes) == count, f"{len(self.writes)} words written, not {count}"
        writes, self.writes = self.writes, []
        return writes

    def check(self, writes, peaks, *, base=0, columns=None):
        """Compare everything written with the golden model."""
        columns = columns or self.config.max_columns
        value = self.vector[None, base:base + columns]
        for vector, peak in enumerate(peaks):
            got = [q for _, owner, _, data in writes if owner == vector for q in data]
            want = quantise(value, self.gains[None, vector, :columns], [peak])[0].tolist()
            assert got[:columns] == want, f"vector {vector}"

    async def run(self, vectors, **where):
        """Quantise random numbers once."""
        peaks = self.load(vectors, **where)
        self.offer(peaks)
        words = self.command(vectors, **where)
        self.check(await self.written(vectors * words), peaks, **where)


async def start(dut, size) -> Bench:
    """Return a bench after reset."""
    bench = Bench(dut, *size)
    await reset(dut)
    return bench


@cocotb.test
@cocotb.parametrize(size=SIZES, vectors=[1, 3])
async def random_vectors(dut, size, vectors):
    bench = await start(dut, size)
    for base, columns in ((0, None), (128, 256), (64, 1), (0, 65), (8, 100)):
        await bench.run(vectors, base=base, columns=columns)


@cocotb.test
@cocotb.parametrize(size=SIZES)
async def a_word_per_cycle(dut, size):
    bench = await start(dut, size)
    peaks = bench.load(3)
    bench.offer(peaks)
    words = bench.command(3)
    writes = await bench.written(3 * words)
    first = bench.taken + 1 + LATENCY
    assert [cycle for cycle, *_ in writes] == list(range(first, first + 3 * words))
    assert bench.reads == list(range(first - LATENCY, first - LATENCY + 3 * words))
    bench.check(writes, peaks)


@cocotb.test
@cocotb.parametrize(size=SIZES)
async def extremes(dut, size):
    bench = await start(dut, size)
    values = [MOST, LEAST, LEAST + 1, 0, 1, -1, 1 << 30, 3]
    gains = [(1 << 15) - 1, -(1 << 15), 0, 1, -1]
    pairs = [(value, gain) for value in values for gain in gains]
    columns = len(pairs)
    bench.vector[:columns], bench.gains[0][:columns] = np.array(pairs).T
    bench.gains[1][:columns] = 1
    bench.gains[2][:] = 0
    peaks = [int(np.abs(bench.vector[:columns] * gain[:columns]).max()) for gain in bench.gains]
    assert peaks[2] == 0
    bench.offer(peaks)
    words = bench.command(3, columns=columns)
    bench.check(await bench.written(3 * words), peaks, columns=columns)


@cocotb.test
@cocotb.parametrize(size=SIZES[1:])
async def a_maximum_of_every_length(dut, size):
    bench = await start(dut, size)
    for bits in range(0, 48, 3):
        peaks = []
        for vector in range(3):
            limit = min((1 << max(0, bits + vector - 1)), 1 << 46)
            gain = min(limit, 1 << 15)
            bench.gains[vector][:64] = [random.randint(-gain, min(gain, gain - 1))
                                        for _ in range(64)]
        span = max(1, min(1 << max(0, bits - 16), MOST))
        bench.vector[:64] = [random.randint(-span, span) for _ in range(64)]
        peaks = [int(np.abs(bench.vector[:64] * gain[:64]).max()) for gain in bench.gains]
        bench.offer(peaks)
        words = bench.command(3, columns=64)
        bench.check(await bench.written(3 * words), peaks, columns=64)


@cocotb.test
@cocotb.parametrize(size=SIZES[1:])
async def waits_for_each_reciprocal(dut, size):
    bench = await start(dut, size)
    peaks = bench.load(3)
    bench.offer(peaks, valid=0)
    words = bench.command(3)
    assert components()[bench.name].reciprocal_delay == RECIPROCAL_DELAY
    for vector in range(3):
        await ClockCycles(dut.clk, words + random.randint(20, 30))
        assert len(bench.writes) == vector * words
        # It is announced in time for the quantiser's first cycles; till then it is anything.
        numbers = [{"factor": reciprocal(peak), "up": 48 - peak.bit_length()} for peak in peaks]
        bench.reciprocals.value = [[{**number, "factor": random.getrandbits(17)} if n == vector
                                    else number for n, number in enumerate(numbers)]]
        bench.port("reciprocals__coming").value = (2 << vector) - 1
        await ClockCycles(dut.clk, RECIPROCAL_DELAY)
        bench.reciprocals.value = [numbers]
    bench.check(await bench.written(3 * words), peaks)


@cocotb.test
@cocotb.parametrize(size=SIZES[1:])
async def the_next_command_waits_for_the_last_word(dut, size):
    bench = await start(dut, size)
    peaks = bench.load(1)
    bench.offer(peaks)
    words = bench.command(1)
    for columns in (64, 128, 64):
        bench.command(1, columns=columns)
    writes = await bench.written(words + 256 // bench.config.vector_width)
    assert bench.taken > writes[-64 // bench.config.vector_width - 1][0]
    bench.check(writes[:words], peaks)
    bench.writes.clear()
    await bench.run(3)


@cocotb.test
@cocotb.parametrize(size=SIZES[1:], cycles=[1, 5, LATENCY + 1, LATENCY + 5, 30])
async def a_reset_in_mid_stream(dut, size, cycles):
    bench = await start(dut, size)
    bench.offer(bench.load(3))
    bench.command(3)
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    bench.writes.clear()
    await ClockCycles(dut.clk, 2 * LATENCY)
    assert not bench.writes
    await bench.run(3)
