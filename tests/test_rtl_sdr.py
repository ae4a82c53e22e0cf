"""The SDR SDRAM controller behind its clock crossing, against a chip that checks every time."""

import dataclasses
import itertools
import random

import pytest
from amaranth.sim import Simulator

from tritstream_hw.memory.port import MOST_BEATS
from tritstream_hw.memory.sdr.chip import SDR_8MB, SDR_32MB
from tritstream_hw.memory.sdr.memory import SdrMemory
from tritstream_hw.memory.sdr.pads import Command
from tritstream_hw.memory.sdr.upkeep import AT_START
from tritstream_sim.agents.pysim import collect, feed, stalls
from tritstream_sim.agents.sdr import SdrModel

# A chip is silent for 200 us before anything happens, which is not simulated in every test.
CHIP = dataclasses.replace(SDR_32MB, power_up=500.0)
WIDE = dataclasses.replace(SDR_8MB, power_up=500.0)     # words of 32 bits, shorter rows
CLOCK_HZ, USER_HZ = 133_333_333, 80_000_000


def page_bytes(chip):
    """Bytes of a row of a bank."""
    return chip.word_bytes << chip.column_bits


def memory(beat_bytes, chip=CHIP, beats=64, clock_hz=CLOCK_HZ):
    """What is tested, at a chip without pads."""
    return SdrMemory(chip=chip, clock_hz=clock_hz, beat_bytes=beat_bytes, beats=beats,
                     read_cycles=chip.cas_latency + 2)


def run(dut, *testbenches, model=None, clock_hz=CLOCK_HZ, user_hz=USER_HZ):
    """Simulate until every testbench has returned; return the chip."""
    model = model or SdrModel(CHIP, CLOCK_HZ)
    pads = dut.pads

    async def pins(ctx):
        seen, word, rng = (Command.NOTHING, 0, 0, 0, 0), None, random.Random(1)
        tick = ctx.tick("memory").sample(pads.command, pads.bank, pads.address, pads.write, pads.o)
        async for _, _, *now in tick:
            captured = rng.getrandbits(16) if word is None else word        # by the pads
            word = model.step(*seen)
            seen = (Command(now[0]), *now[1:])
            ctx.set(pads.i, captured)

    async def watchdog(ctx):
        await ctx.delay(3e-3)
        raise TimeoutError("not done after 3 ms")

    simulator = Simulator(dut)
    simulator.add_clock(1 / user_hz)
    simulator.add_clock(1 / clock_hz, domain="memory")
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in (pins, watchdog):
        simulator.add_testbench(testbench, background=True)
    simulator.run()
    return model


def content(beat, beat_bytes):
    """A beat that differs from its neighbours, and from those of other rows and banks."""
    return list(random.Random(beat).randbytes(beat_bytes))


def reads(beat, beats, beat_bytes):
    return {"write": 0, "beat": beat, "beats": beats, "data": [0] * beat_bytes}


def writes(beat, beat_bytes):
    return {"write": 1, "beat": beat, "beats": 1, "data": content(beat, beat_bytes)}


@pytest.mark.parametrize("chip, beat_bytes, stall", [
    (CHIP, 2, 0.0), (CHIP, 4, 0.6), (CHIP, 16, 0.3), (CHIP, 64, 0.0),
    (WIDE, 4, 0.3), (WIDE, 16, 0.0)])
def test_reads_see_the_writes_before_them(chip, beat_bytes, stall, seed):
    """Wherever they begin and end: in the middle of bursts, across pages and banks."""
    dut, rng = memory(beat_bytes, chip), random.Random(seed)
    page = page_bytes(chip) // beat_bytes
    places = [0, page - 3, 4 * page - 2, 9 * page + 5, chip.bytes // beat_bytes - 7]
    commands, expected = [], []
    for place in places:
        commands += [writes(place + n, beat_bytes) for n in range(7)]
    for _ in range(25):
        place, first = rng.choice(places), rng.randrange(7)
        beats = rng.randrange(1, 8 - first)
        commands.append(reads(place + first, beats, beat_bytes))
        expected += [content(place + n, beat_bytes) for n in range(first, first + beats)]
        if rng.random() < 0.3:
            commands.append(writes(place + first, beat_bytes))
    found = []

    async def master(ctx):
        await feed(ctx, dut.bus.command, commands, stalls(seed, stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.bus.data, len(expected), stalls(seed + 1, stall)))

    run(dut, master, consumer, model=SdrModel(chip, CLOCK_HZ))
    assert [list(beat) for beat in found] == expected


def test_a_row_stays_open_for_as_long_as_a_slow_chip_wants():
    """One of 150 ns: what else keeps a row open, the words of a short read, takes less."""
    chip = dataclasses.replace(CHIP, ras=150.0)
    dut, beat_bytes, count = memory(2, chip), 2, 12
    across = 4 * page_bytes(chip) // beat_bytes     # beats to the next row of the same bank

    async def master(ctx):
        await feed(ctx, dut.bus.command, [reads(n * across, 1, beat_bytes) for n in range(count)],
                   itertools.repeat(0))

    async def consumer(ctx):
        await collect(ctx, dut.bus.data, count, itertools.repeat(0))

    run(dut, master, consumer, model=SdrModel(chip, CLOCK_HZ))


@pytest.mark.parametrize("chip, clock_hz, user_hz, beat_bytes, count", [
    (CHIP, CLOCK_HZ, USER_HZ, 4, 10), (WIDE, 60_000_000, 60_000_000, 4, 20),
    (WIDE, 117_000_000, 60_000_000, 8, 20)], ids=["16 bits", "32 bits", "32 bits, fast"])
def test_long_reads_are_at_the_peak_of_the_chip(chip, clock_hz, user_hz, beat_bytes, count):
    """But for refresh: at least 97 % of its words, over several of its intervals."""
    dut = memory(beat_bytes, chip, beats=512, clock_hz=clock_hz)
    came = []

    async def master(ctx):
        ctx.set(dut.bus.data.ready, 1)
        await feed(ctx, dut.bus.command, [
            reads(16 + MOST_BEATS * n, MOST_BEATS, beat_bytes) for n in range(count)],
            stalls(1, 0.0))

    async def watch(ctx):
        cycle = 0
        while len(came) < MOST_BEATS * count:
            _, _, valid = await ctx.tick().sample(dut.bus.data.valid)
            cycle += 1
            if valid:
                came.append(cycle)

    model = run(dut, master, watch, model=SdrModel(chip, clock_hz), clock_hz=clock_hz,
                user_hz=user_hz)
    words = (len(came) - 1) * beat_bytes // chip.word_bytes
    cycles = (came[-1] - came[0]) * clock_hz / user_hz
    print(f"{words} words in {cycles:.0f} cycles, {model.refreshes} refreshes")
    assert model.refreshes > 4 + AT_START
    assert words >= 0.97 * cycles


def test_beats_wait_for_a_user_who_pauses():
    """As long as there is room for what has been asked for, and not one longer."""
    dut, beat_bytes = memory(4, beats=32), 4
    found = []

    async def user(ctx):
        await feed(ctx, dut.bus.command, [reads(0, 200, beat_bytes), reads(7, 90, beat_bytes)],
                   stalls(1, 0.0))
        for count in (1, 60, 229):
            for _ in range(300):
                await ctx.tick()
            found.extend(await collect(ctx, dut.bus.data, count, stalls(1, 0.0)))
        for _ in range(50):
            await ctx.tick()
            assert not ctx.get(dut.bus.data.valid)

    model = SdrModel(CHIP, CLOCK_HZ)
    model.fill({(0, 0, column): column for column in range(1 << CHIP.column_bits)})
    run(dut, user, model=model)
    words = [int.from_bytes(bytes(list(beat)), "little") for beat in found]
    assert words == [(2 * n + 1) << 16 | 2 * n for n in (*range(200), *range(7, 97))]


def test_the_chip_is_left_alone_until_it_is_powered_up():
    chip = dataclasses.replace(CHIP, power_up=20_000.0)
    dut = memory(4, chip=chip)

    async def user(ctx):
        await feed(ctx, dut.bus.command, [writes(0, 4), reads(0, 1, 4)], stalls(1, 0.0))
        assert list(*await collect(ctx, dut.bus.data, 1, stalls(1, 0.0))) == content(0, 4)

    model = run(dut, user, model=SdrModel(chip, CLOCK_HZ))
    assert model.cycle > 20_000 * CLOCK_HZ / 1e9
