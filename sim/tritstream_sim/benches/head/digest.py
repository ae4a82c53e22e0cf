"""Bench of a `Crc32` called `digest`, against `zlib.crc32`."""

import random
import zlib

import cocotb
from cocotb.triggers import RisingEdge

from tritstream_sim.agents.stream import reset, start_clock


class Bench:
    """Drives the ports and follows with zlib, cycle by cycle."""

    def __init__(self, dut):
        self.expected = 0
        self.clk = dut.clk
        self.data, self.valid, self.clear, self.value = (
            dut[f"digest__{port}"] for port in ("data", "valid", "clear", "value"))
        self.data.value = self.valid.value = self.clear.value = 0

    async def cycle(self, *, data=0, valid=0, clear=0):
        """Clock the device once and compare."""
        self.data.value, self.valid.value, self.clear.value = data, valid, clear
        await RisingEdge(self.clk)
        if clear:
            self.expected = 0
        if valid:
            self.expected = zlib.crc32(data.to_bytes(4, "little"), self.expected)
        self.valid.value = self.clear.value = 0
        await RisingEdge(self.clk)
        got = int(self.value.value)
        assert got == self.expected, f"{got:#010x}, expected {self.expected:#010x}"


async def start(dut) -> Bench:
    """Return a bench after reset."""
    start_clock(dut)
    bench = Bench(dut)
    await reset(dut)
    return bench


@cocotb.test
async def follows_zlib(dut):
    bench = await start(dut)
    await bench.cycle()
    for data in (0, 0xFFFFFFFF, 1, 0x80000000, 0x12345678):
        await bench.cycle(data=data, valid=1)
    for _ in range(500):
        await bench.cycle(data=random.getrandbits(32), valid=random.random() < 0.7,
                          clear=random.random() < 0.1)


@cocotb.test
async def a_word_per_cycle(dut):
    bench = await start(dut)
    words = [random.getrandbits(32) for _ in range(300)]
    bench.valid.value = 1
    for word in words:
        bench.data.value = word
        await RisingEdge(dut.clk)
    bench.valid.value = 0
    bench.expected = zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))
    await bench.cycle()


@cocotb.test
async def several_words_per_cycle(dut):
    start_clock(dut)
    data, valid, clear, value = (
        dut[f"digest_of_words__{port}"] for port in ("data", "valid", "clear", "value"))
    valid.value = clear.value = 0
    await reset(dut)
    expected = 0
    for _ in range(300):
        words, mask, clears = random.getrandbits(128), random.getrandbits(4), random.random() < 0.1
        data.value, valid.value, clear.value = words, mask, clears
        await RisingEdge(dut.clk)
        taken = b"".join(words.to_bytes(16, "little")[4 * n:4 * n + 4]
                         for n in range(4) if mask >> n & 1)
        expected = zlib.crc32(taken, 0 if clears else expected)
        valid.value = clear.value = 0
        await RisingEdge(dut.clk)
        assert int(value.value) == expected


@cocotb.test
async def reset_starts_again(dut):
    bench = await start(dut)
    await bench.cycle(data=5, valid=1)
    await reset(dut)
    bench.expected = 0
    await bench.cycle()
    await bench.cycle(data=6, valid=1)
