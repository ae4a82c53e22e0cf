"""Bench of `Gemv` with its activation memory, against NumPy's `@`."""

import dataclasses
import itertools

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from cocotb.triggers import ClockCycles, RisingEdge

from tritstream.build import BuildConfig
from tritstream.image import trits as code
from tritstream_hw.construct import construct
from tritstream_hw.gemv.activations import VECTORS, ActivationMemory
from tritstream_hw.gemv.feeder import available_layout, product_layout
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.gemv.layouts import lanes_layout, sums_layout
from tritstream_sim.agents.port import Port
from tritstream_sim.agents.stream import (
    PAUSES,
    SOURCE_PAUSES,
    Monitor,
    Sink,
    Source,
    reset,
    stall,
    start_clock,
)
from tritstream_sim.verilate.parameters import build_config


class GemvWithMemory(wiring.Component):
    """`Gemv` and the memory it reads; the other ports are theirs."""

    def __init__(self, config: BuildConfig):
        self._gemv, self._memory = construct(Gemv, config), construct(ActivationMemory, config)
        super().__init__({
            "write":     In(self._memory.write.signature.flip()),
            "command":   In(stream.Signature(product_layout(config.column_beats))),
            "beats":     In(stream.Signature(data.ArrayLayout(8, config.stripe_bytes))),
            "available": In(available_layout(config.column_beats)),
            "lanes":     In(lanes_layout(config.lanes, config.slots)),
            "o":         Out(stream.Signature(
                sums_layout(config.acc_bits, config.element_width, config.lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.gemv = gemv = self._gemv
        m.submodules.memory = memory = self._memory
        m.d.comb += [gemv.available.eq(self.available), gemv.lanes.eq(self.lanes)]
        wiring.connect(m, wiring.flipped(self.write), memory.write)
        wiring.connect(m, wiring.flipped(self.command), gemv.command)
        wiring.connect(m, wiring.flipped(self.beats), gemv.beats)
        wiring.connect(m, gemv.read, memory.read)
        wiring.connect(m, gemv.o, wiring.flipped(self.o))
        return m


@dataclasses.dataclass
class Product:
    """A command, its tape and the answer.

    `trits` is int8 `[projections, rows, columns]`, `vectors` int8 `[lanes, 3, columns]`.
    """

    trits: np.ndarray
    vectors: np.ndarray
    separate: bool
    apart: bool = False

    def command(self, config: BuildConfig) -> dict[str, int]:
        """Return the command."""
        projections, rows, columns = self.trits.shape
        return {"column_beats": columns // config.beat_bytes,
                "blocks": config.stripes.blocks(rows), "rows": rows, "projections": projections,
                "separate": self.separate, "apart": self.apart}

    def tape(self, config: BuildConfig, rng) -> list[bytes]:
        """Stripes: blocks, then projections, then columns. Rows that fill up are random."""
        projections, rows, columns = self.trits.shape
        shape = config.stripes.blocks(rows) * config.groups, 5, columns
        padded = rng.integers(-1, 2, (projections, shape[0] * 5, columns), np.int8)
        padded[:, :rows] = self.trits
        codes = code.encode(padded.reshape(projections, *shape).transpose(2, 1, 0, 3))
        beats = codes.reshape(-1, config.groups, projections, columns // config.beat_bytes,
                               config.beat_bytes)
        stripes = beats.transpose(0, 2, 3, 1, 4).reshape(-1, config.stripe_bytes)
        return [stripe.tobytes() for stripe in stripes]

    def golden(self, config: BuildConfig) -> list[tuple]:
        """Words of rows, as they come: `(lane, word, last, rows)`, rows by their place."""
        projections, rows, _ = self.trits.shape
        width, block = config.element_width, self.block(config)
        sums = np.array([[trits.astype(int) @ vectors[p if self.separate else 0].astype(int)
                          for p, trits in enumerate(self.trits)] for vectors in self.vectors])
        words = []
        for first in range(0, rows, block):
            behind = min(first + block, rows)
            # Words that two blocks share come twice, or once, when they are whole.
            begins, ends = first, -(-behind // width)
            if self.whole_words(config):
                begins, ends = 0, ends if behind == rows else behind // width
            for lane in range(len(sums)):
                for word in range(first // width, ends):
                    there = range(max(begins, word * width), min(behind, (word + 1) * width))
                    last = there[-1] == rows - 1 and lane == len(sums) - 1
                    words.append((lane, word, int(last), {
                        row % width: sums[lane, :, row].tolist() for row in there}))
        return words

    def whole_words(self, config: BuildConfig) -> bool:
        """Whether words have rows of several blocks."""
        return config.whole_words and not self.apart

    def block(self, config: BuildConfig) -> int:
        """Rows that leave together, of one token after the other."""
        if self.whole_words(config) and len(self.trits) == 1:
            return 15
        return 5 * (config.groups if config.lanes == 1 else 1)

    def cycles(self, config: BuildConfig) -> int:
        """Cycles in which the serialiser emits them: the groups before the last are collected."""
        projections, rows, _ = self.trits.shape
        blocks = config.stripes.blocks(rows)
        if not self.whole_words(config):
            return len(self.golden(config)) + blocks * (projections - 1)
        # Rows without a whole word take a cycle, too, for each token.
        words, kept, first = len(self.golden(config)), 0, 0
        while first + self.block(config) < rows:
            behind = first + self.block(config)
            kept += config.lanes * (first // config.element_width == behind // config.element_width)
            first = behind
        joined = -(-blocks // 3) if projections == 1 else blocks
        return words + kept + blocks * projections - joined


def random_product(rng, config: BuildConfig, vectors, *, beats: int, rows: int, projections: int,
                   separate: bool, apart: bool = False) -> Product:
    """Return a product with random trits of the first columns of `vectors`."""
    columns = beats * config.beat_bytes
    trits = rng.integers(-1, 2, (projections, rows, columns), np.int8)
    return Product(trits, vectors[..., :columns], separate, apart)


class Bench:
    """Agents at the device."""

    def __init__(self, dut, *, tape_stall=0.0, o_stall=0.0, burst=1):
        self.dut, self.config = dut, build_config()
        self.commands = Source(dut, "command", product_layout(self.config.column_beats),
                               stall=stall(tape_stall, burst))
        self.tape = Source(dut, "beats", data.ArrayLayout(8, self.config.stripe_bytes),
                           stall=stall(tape_stall, burst))
        self.sink = Sink(dut, "o", sums_layout(
            self.config.acc_bits, self.config.element_width, self.config.lanes),
            stall=stall(o_stall, burst))
        self.lanes = Port(dut, "lanes", lanes_layout(self.config.lanes, self.config.slots))
        self.lanes.value = {"last": self.config.lanes - 1}
        self.watch_tape, self.watch_o = Monitor(dut, "beats"), Monitor(dut, "o")
        self.show([0] * VECTORS)
        dut.write__en.value = 0

    def show(self, counts: list[int]):
        """Tell the device how many beats of each vector are in the memory."""
        layout = available_layout(self.config.column_beats)
        self.dut.available.value = layout.const(counts).as_bits()

    async def write(self, vectors, first: int, last: int):
        """Write the beats from `first` to before `last` of all vectors into the memory."""
        config, clock = self.config, RisingEdge(self.dut.clk)
        words = config.beat_bytes // config.vector_width
        for lane, vector, address in itertools.product(
                range(config.lanes), range(VECTORS), range(first * words, last * words)):
            start = address * config.vector_width
            self.dut.write__lane.value = lane
            self.dut.write__vector.value = vector
            self.dut.write__address.value = address
            self.dut.write__data.value = int.from_bytes(
                vectors[lane, vector, start:start + config.vector_width].tobytes(), "little")
            self.dut.write__en.value = 1
            await clock
        self.dut.write__en.value = 0
        await clock

    def send(self, products, rng):
        """Queue commands and their tape."""
        for product in products:
            self.commands.send([product.command(self.config)])
            self.tape.send(product.tape(self.config, rng))

    async def check(self, products):
        """Compare everything that comes out, including that nothing more does."""
        for n, product in enumerate(products):
            projections, expected = len(product.trits), product.golden(self.config)
            for word, right in zip(await self.sink.take(len(expected)), expected, strict=True):
                got = (word.lane, word.word, word.last, {
                    place: list(sums)[:projections] for place, sums in enumerate(word.rows)
                    if word.live >> place & 1})
                assert got == right, f"product {n}: {got}, expected {right}"
        await self.sink.nothing_more()
        assert not self.tape.pending and not self.commands.pending


def shape_of(config: BuildConfig) -> tuple[int, int, int]:
    """Shape of all that is in the memory."""
    return config.lanes, VECTORS, config.max_columns


async def start(dut, **stalls):
    """Return a bench after reset, a seeded generator, and vectors that are in the memory."""
    start_clock(dut)
    bench = Bench(dut, **stalls)
    await reset(dut)
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    vectors = rng.integers(-127, 128, shape_of(bench.config), np.int8)
    await bench.write(vectors, 0, bench.config.column_beats)
    bench.show([bench.config.column_beats] * VECTORS)
    return bench, rng, vectors


def random_products(rng, config: BuildConfig, vectors, count: int) -> list[Product]:
    """Products of all kinds of shapes, with odd numbers of rows."""
    return [random_product(rng, config, vectors,
                           beats=int(rng.integers(1, min(config.column_beats, 12) + 1)),
                           rows=int(rng.integers(1, 14 * (1 + config.whole_words))),
                           projections=int(rng.integers(1, 4)), separate=bool(rng.integers(2)),
                           apart=not rng.integers(4)) for _ in range(count)]


@cocotb.test
@cocotb.parametrize((("tape_stall", "o_stall", "burst"), PAUSES))
async def products_of_all_shapes(dut, tape_stall, o_stall, burst):
    bench, rng, vectors = await start(dut, tape_stall=tape_stall, o_stall=o_stall, burst=burst)
    products = random_products(rng, bench.config, vectors, 12)
    bench.send(products, rng)
    await bench.check(products)


@cocotb.test
@cocotb.parametrize(act=[-127, 127])
async def extremes(dut, act):
    bench, rng, _ = await start(dut)
    columns = bench.config.max_columns
    vectors = np.full(shape_of(bench.config), act, np.int8)
    await bench.write(vectors, 0, bench.config.column_beats)
    products = [Product(np.full((1, 5, columns), trit, np.int8), vectors, False)
                for trit in (-1, 0, 1)]
    bench.send(products, rng)
    await bench.check(products)


@cocotb.test
@cocotb.parametrize((("tape_stall", "burst"), SOURCE_PAUSES), vector=[0, 1, 2])
async def activations_are_not_read_before_they_are_there(dut, vector, tape_stall, burst):
    bench, rng, _ = await start(dut, tape_stall=tape_stall, burst=burst)
    beats = min(bench.config.column_beats, 9)
    bench.show([0] * VECTORS)
    vectors = rng.integers(-127, 128, shape_of(bench.config), np.int8)
    product = random_product(rng, bench.config, vectors, beats=beats, rows=7, projections=3,
                             separate=True)
    bench.send([product], rng)
    for beat in range(beats):
        await ClockCycles(dut.clk, int(rng.integers(1, 8)))
        await bench.write(vectors, beat, beat + 1)
        counts = [beat] * VECTORS
        counts[vector] = beat + 1
        bench.show(counts)
    bench.show([beats] * VECTORS)
    await bench.check([product])


@cocotb.test
async def only_the_vector_that_is_read_has_to_be_there(dut):
    bench, rng, vectors = await start(dut)
    shape = {"beats": 2, "rows": 6, "projections": 3}
    bench.show([2, 0, 0])
    shared = random_product(rng, bench.config, vectors, separate=False, **shape)
    bench.send([shared], rng)
    await bench.check([shared])
    for missing in range(VECTORS):
        counts = [2] * VECTORS
        counts[missing] = 1
        bench.show(counts)
        before = len(bench.watch_tape.payloads)
        apart = random_product(rng, bench.config, vectors, separate=True, **shape)
        bench.send([apart], rng)
        await ClockCycles(dut.clk, 30)
        assert len(bench.watch_tape.payloads) - before == 2 * missing + 1
        bench.show([2] * VECTORS)
        await bench.check([apart])


@cocotb.test
async def a_beat_per_cycle_from_command_to_command(dut):
    bench, rng, vectors = await start(dut)
    shapes = (5, 15, 3), (12, 15, 1), (6, 13, 2), (5, 20, 1), (8, 9, 3)
    if bench.config.groups > 1:             # whose rows leave one after the other
        shapes = [(bench.config.column_beats, rows, n) for _, rows, n in shapes]
    products = [random_product(rng, bench.config, vectors, beats=beats, rows=rows, projections=n,
                               separate=True) for beats, rows, n in shapes]
    bench.send(products, rng)
    await bench.check(products)
    cycles = bench.watch_tape.cycles
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
    latency = 6 + exact_log2(bench.config.beat_bytes)
    blocks = -(-bench.config.element_width // 5) if bench.config.whole_words else 1
    assert bench.watch_o.cycles[0] == cycles[3 * blocks * shapes[0][0] - 1] + latency


@cocotb.test
@cocotb.parametrize(rows=[33, 30, 41], projections=[1, 2, 3])
async def a_word_per_cycle_and_a_group_before_it(dut, rows, projections):
    bench, rng, vectors = await start(dut)
    products = [random_product(rng, bench.config, vectors, beats=1, rows=rows,
                               projections=projections, separate=False) for _ in range(3)]
    bench.send(products, rng)
    await bench.check(products)
    least = sum(product.cycles(bench.config) for product in products)
    beats = len(bench.watch_tape.cycles)
    cycles = bench.watch_o.cycles
    assert cycles[-1] - cycles[0] + projections <= max(least, beats + len(products)) + 5


@cocotb.test
@cocotb.parametrize(cycles=[3, 9, 25, 60])
async def reset_forgets_everything(dut, cycles):
    bench, rng, vectors = await start(dut, o_stall=0.3)
    bench.send(random_products(rng, bench.config, vectors, 8), rng)
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    products = random_products(rng, bench.config, vectors, 3)
    bench.send(products, rng)
    await bench.check(products)


@cocotb.test
@cocotb.parametrize((("tape_stall", "burst"), SOURCE_PAUSES))
async def rows_of_a_token_that_follows_come_five_cycles_later(dut, tape_stall, burst):
    """Once the receiver takes what is offered, as it does from a product's first word on."""
    bench, rng, vectors = await start(dut, tape_stall=tape_stall, burst=burst)
    lanes = bench.config.lanes
    follows = [lane > 0 and bool(rng.integers(4)) for lane in range(lanes)]
    if lanes > 1:
        bench.lanes.value = {"last": lanes - 1, "table": [{"follows": it} for it in follows]}
    products = [random_product(rng, bench.config, vectors, beats=1, rows=rows, projections=3,
                               separate=True) for rows in (1, 2, 5, 23, 9)]
    for product in products:
        bench.sink.stall = lambda: True
        bench.send([product], rng)
        await ClockCycles(dut.clk, int(rng.integers(1, 60)))
        bench.sink.stall = None
        before = len(bench.watch_o.payloads)
        await bench.check([product])
        cycles = bench.watch_o.cycles[before:]
        came = {}
        for cycle, (lane, word, _, rows) in zip(
                cycles, product.golden(bench.config), strict=True):
            came[lane, word, min(rows)] = cycle
        for (lane, *where), cycle in came.items():
            if follows[lane]:
                assert cycle - came[lane - 1, *where] == 5, f"lane {lane}, {where}"
