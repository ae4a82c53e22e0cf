"""Bench of `GainBanks` and `VectorMemory` at several widths."""

import itertools
import random

import cocotb
import numpy as np
from amaranth.lib import data
from cocotb.triggers import ClockCycles, RisingEdge

from tritstream.build import BuildConfig
from tritstream.formats import UNIT, padded
from tritstream.image.tape import Bank
from tritstream_hw.construct import construct
from tritstream_hw.elements.vectors import VectorMemory
from tritstream_hw.tape.gains import GainBanks, banks_layout, load_layout
from tritstream_sim.agents.payload import as_signed
from tritstream_sim.agents.stream import (
    SOURCE_PAUSES,
    Monitor,
    Source,
    reset,
    stall,
    start_clock,
)

SIZES = [(1, 1), (1, 16), (4, 4), (8, 16), (8, 64), (64, 64)]       # V, P
ELEMENT_WIDTHS = {1: 1, 4: 4, 8: 2, 64: 1}      # by V
HIDDEN = 150


def config(vector_width: int, beat_bytes: int) -> BuildConfig:
    """Return a configuration with small memories."""
    return BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width,
                       element_width=ELEMENT_WIDTHS[vector_width], max_hidden=HIDDEN,
                       max_intermediate=192)


def name(vector_width: int, beat_bytes: int) -> str:
    """Name of the devices of this size."""
    return f"v{vector_width}p{beat_bytes}"


def components() -> dict[str, GainBanks | VectorMemory]:
    """Return the devices under test."""
    banks = {f"{name(*size)}_banks": construct(GainBanks, config(*size)) for size in SIZES}
    vectors = {f"{name(*size)}_vectors": construct(VectorMemory, config(*size))
               for size in SIZES[2:]}
    return banks | vectors


class Bench:
    """Loads and reads the banks, and remembers what they hold."""

    def __init__(self, dut, size, *, gap=0.0, burst=1):
        self.dut, self.name, self.config = dut, f"{name(*size)}_banks", config(*size)
        start_clock(dut)
        self.commands = Source(dut, f"{self.name}__command", load_layout(
            gain_beats=self.config.gain_beats, gain_chunks=self.config.gain_chunks))
        self.beats = Source(dut, f"{self.name}__beats",
                            data.ArrayLayout(8, self.config.beat_bytes), stall=stall(gap, burst))
        self.watch = Monitor(dut, f"{self.name}__beats")
        for port in ("half", "read_half", "read_address", "keep_half", "keep_address"):
            self.port(port).value = 0
        self.content = [{}, {}]

    def port(self, name: str):
        """Return the handle of a port of this device."""
        return self.dut[f"{self.name}__{name}"]

    def send(self, half: int, banks: Bank, rows: int):
        """Send random banks; return the number of beats."""
        width = self.config.beat_bytes
        size = padded(2 * rows)
        self.port("half").value = half
        *_, last = self.chunks(rows)
        self.commands.send([{"banks": banks.value, "beats": size // width, "last_chunk": last - 1}])
        for bank in banks:
            raw = random.randbytes(size)
            self.beats.send(raw[n:n + width] for n in range(0, size, width))
            self.content[half][bank] = np.frombuffer(
                raw, "<u2" if bank is Bank.KEEP else "<i2")[:rows].tolist()
        return len(list(banks)) * size // width

    def chunks(self, rows: int) -> list[int]:
        """Chunks of each beat of a bank: of the last one none is loaded that is padding."""
        width = self.config.beat_bytes
        count, chunk = padded(2 * rows) // width, min(width, 2 * self.config.vector_width)
        whole = [width // chunk] * count
        return whole if width < UNIT else [*whole[1:], -(-2 * rows // chunk) - sum(whole[1:])]

    async def load(self, half: int, banks: Bank, rows: int):
        """Send random banks and wait until they are there."""
        self.send(half, banks, rows)
        await self.beats.sent()
        await self.commands.sent()
        await ClockCycles(self.dut.clk, 2)

    async def check(self, half: int):
        """Read back everything in a half; `keep` at the same time in another order."""
        count = self.config.vector_width
        words = self.config.max_columns // count
        for address in range(words):
            keep_address = words - 1 - address
            self.port("read_half").value = half
            self.port("keep_half").value = half
            self.port("read_address").value = address
            self.port("keep_address").value = keep_address
            await ClockCycles(self.dut.clk, 3)
            gains = banks_layout(count).from_bits(int(self.port("read_data").value))
            keep = int(self.port("keep_data").value)
            for bank, content in self.content[half].items():
                if bank is Bank.KEEP:
                    where, got = keep_address, [keep >> 16 * k & 0xFFFF for k in range(count)]
                else:
                    where, got = address, list(gains[bank.name.lower()])
                want = content[where * count:(where + 1) * count]
                assert got[:len(want)] == want, f"{bank.name} {half}, word {where}"


async def start(dut, size, **options) -> Bench:
    """Return a bench after reset."""
    bench = Bench(dut, size, **options)
    await reset(dut)
    return bench


@cocotb.test
@cocotb.parametrize((("gap", "burst"), SOURCE_PAUSES), size=SIZES)
async def loads_any_banks_of_any_length(dut, size, gap, burst):
    bench = await start(dut, size, gap=gap, burst=burst)
    for turn, (banks, rows) in enumerate((
            (~Bank(0), HIDDEN), (Bank.GAIN0, 192), (Bank.KEEP | Bank.PRE | Bank.GAIN0, 64),
            (Bank.GAIN2, 1), (Bank.PRE | Bank.GAIN1, 33), (Bank(0), 5), (~Bank(0), 97))):
        half = turn % 2
        await bench.load(half, banks, rows)
        await bench.check(half)
        await bench.check(1 - half)         # which the load has not touched


@cocotb.test
@cocotb.parametrize(size=SIZES)
async def a_beat_as_soon_as_it_can_be_written(dut, size):
    bench = await start(dut, size)
    count = bench.send(0, ~Bank(0), HIDDEN)
    await bench.beats.sent()
    await ClockCycles(dut.clk, 3)
    chunks = bench.chunks(HIDDEN) * len(Bank)
    assert len(chunks) == count
    begins = bench.watch.cycles[0] - chunks[0]
    assert bench.watch.cycles == [begins + cycle for cycle in itertools.accumulate(chunks)]
    await bench.check(0)


@cocotb.test
@cocotb.parametrize(size=SIZES)
async def commands_back_to_back(dut, size):
    bench = await start(dut, size)
    for banks, rows in ((Bank.KEEP | Bank.GAIN1, 40), (Bank.GAIN0, 150), (Bank.PRE, 1)):
        bench.send(1, banks, rows)
    await bench.beats.sent()
    await ClockCycles(dut.clk, 3)
    await bench.check(1)


@cocotb.test
@cocotb.parametrize(size=SIZES)
async def reads_while_it_loads(dut, size):
    bench = await start(dut, size, gap=0.3)
    await bench.load(0, ~Bank(0), HIDDEN)
    bench.send(1, ~Bank(0), HIDDEN)
    await bench.check(0)
    await bench.beats.sent()
    await ClockCycles(dut.clk, 3)
    await bench.check(1)


@cocotb.test
@cocotb.parametrize(size=SIZES, cycles=[1, 3, 6, 11])
async def a_reset_in_mid_stream(dut, size, cycles):
    bench = await start(dut, size)
    await bench.load(0, ~Bank(0), HIDDEN)
    bench.send(1, ~Bank(0), HIDDEN)
    await ClockCycles(dut.clk, cycles)
    await reset(dut)
    await bench.check(0)                    # the other half survives
    bench.content[1].clear()
    await bench.load(1, Bank.GAIN0 | Bank.GAIN2, HIDDEN)
    await bench.check(1)


@cocotb.test
@cocotb.parametrize(size=SIZES[2:])
async def vectors_are_written_by_lane_and_read_in_words(dut, size):
    shape = config(*size)
    count, width = shape.vector_width, shape.element_width

    def port(part):
        return dut[f"{name(*size)}_vectors__{part}"]

    start_clock(dut)
    for part in ("write__en", "write__addr", "write__data", "read__addr"):
        port(part).value = 0
    await reset(dut)
    edge = RisingEdge(dut.clk)
    content = [0] * shape.vector_elements
    order = list(range(shape.vector_elements))
    random.shuffle(order)
    for address in [*order, *order[:20]]:
        content[address] = random.randrange(-(1 << 31), 1 << 31)
        word, lane = divmod(address, width)
        others = random.getrandbits(32 * width) & ~(0xFFFFFFFF << 32 * lane)
        port("write__en").value = 1 << lane
        port("write__addr").value = word
        port("write__data").value = others | (content[address] & 0xFFFFFFFF) << 32 * lane
        await edge
        port("write__data").value = 0        # without the enable, nothing happens
        port("write__en").value = 0
        port("read__addr").value = address // count
        await edge
        await edge                          # written and read in turn, a cycle apart
        data = int(port("read__data").value)
        assert as_signed(data >> 32 * (address % count), 32) == content[address]
    await reset(dut)                        # the content survives
    for address in range(shape.vector_elements // count):
        port("read__addr").value = address
        await edge
        await edge
        data = int(port("read__data").value)
        assert [as_signed(data >> 32 * k, 32) for k in range(count)] == \
            content[address * count:(address + 1) * count]
