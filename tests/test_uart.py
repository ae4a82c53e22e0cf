"""The serial port, cycle by cycle in Amaranth's simulator."""

import itertools
import random

import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.phy.uart import UartReceiver, UartTransmitter, bit_ratio
from tritstream_sim.agents.contract import held_until_taken, prove
from tritstream_sim.agents.pysim import collect, feed, run, stalls

RATES = [(80_000_000, 3_000_000), (83_333_333, 3_000_000), (48_000_000, 3_000_000),
         (25_000_000, 3_000_000)]
CLOCK, BAUD = RATES[0]
BIT = CLOCK / BAUD


def levels_of(content, bit, *, gap=0.0, stop=1):
    """Levels of the line, one per cycle: each byte's frame, then `gap` bits of idle line."""
    position, levels = 0.0, []
    for byte in content:
        for level in (0, *(byte >> n & 1 for n in range(8)), stop):
            position += bit
            levels += [level] * (round(position) - len(levels))
        position += gap * bit
        levels += [1] * (round(position) - len(levels))
    return levels


def receive(levels, *, clock=CLOCK, baud=BAUD, ready=None):
    """Return the bytes that a receiver makes of a line."""
    dut = UartReceiver(clock, baud)
    found = []

    async def line(ctx):
        ready_at = ready or (lambda cycle: True)
        for cycle, level in enumerate([*[1] * 20, *levels, *[1] * 60]):
            ctx.set(dut.pin, level)
            ctx.set(dut.o.ready, ready_at(cycle))
            _, _, valid, taken, byte = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and taken:
                found.append(byte)

    run(dut, line)
    return bytes(found)


@pytest.mark.parametrize("skew", [0.98, 1.0, 1.02])
@pytest.mark.parametrize("clock, baud", RATES)
def test_receiver_bears_a_clock_that_is_off(clock, baud, skew, seed):
    content = random.Random(seed).randbytes(20) + b"\0\xff\x55\xaa\0"
    assert receive(levels_of(content, clock / baud * skew), clock=clock, baud=baud) == content


def test_receiver_does_not_see_glitches(seed):
    rng = random.Random(seed)
    content = rng.randbytes(20)
    levels = levels_of(content, BIT, gap=1.3)
    for cycle in range(0, len(levels), 13):
        levels[cycle + rng.randrange(10)] ^= 1
    assert receive(levels) == content


def test_receiver_does_not_take_a_short_pulse_for_a_start_bit():
    pulse = [0] * 9 + [1] * 20
    assert receive(pulse + levels_of(b"ok", BIT)) == b"ok"


def test_a_byte_without_a_stop_bit_is_dropped():
    levels = levels_of(b"a", BIT) + levels_of(b"b", BIT, gap=2, stop=0) + levels_of(b"c", BIT)
    assert receive(levels) == b"ac"


def test_a_break_is_no_byte():
    for length in range(950, 1_200, 20):
        assert receive([0] * length + [1] * 40 + levels_of(b"z", BIT)) == b"z"


def test_bytes_stand_until_taken_and_surplus_is_lost():
    levels = levels_of(b"12345", BIT)
    assert receive(levels, ready=lambda cycle: cycle > 1_200) == b"15"


def send(content, *, clock=CLOCK, baud=BAUD, idle=None):
    """Return the level of the line in every cycle."""
    dut = UartTransmitter(clock, baud)
    levels = []

    async def producer(ctx):
        await feed(ctx, dut.i, content, idle or itertools.repeat(0))

    async def watcher(ctx):
        for _ in range(int((len(content) + 1) * 10 * clock / baud) + 20):
            _, _, level = await ctx.tick().sample(dut.pin)
            levels.append(level)

    run(dut, producer, watcher)
    return levels


@pytest.mark.parametrize("clock, baud", RATES)
def test_transmitter_keeps_time_without_a_gap(clock, baud, seed):
    content = random.Random(seed).randbytes(12)
    levels = send(content, clock=clock, baud=baud)
    start, bit = levels.index(0), clock / baud
    for n, byte in enumerate(content):
        for k, level in enumerate((0, *(byte >> i & 1 for i in range(8)), 1)):
            first = start + (10 * n + k) * bit
            assert set(levels[round(first) + 1:round(first + bit) - 1]) == {level}
    assert set(levels[round(start + 10 * len(content) * bit):]) == {1}


def test_the_line_is_idle_high_between_bytes(seed):
    content = b"\0\0\0"
    levels = send(content, idle=iter([5, 400, 300]))
    runs = [(level, len(list(group))) for level, group in itertools.groupby(levels)]
    assert [level for level, _ in runs] == [1, 0, 1, 0, 1, 0, 1]
    assert all(abs(length - 9 * BIT) <= 1 for level, length in runs if level == 0)


class Loop(wiring.Component):
    """A transmitter that is heard by a receiver."""

    def __init__(self, clock, baud):
        self._rates = clock, baud
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = UartTransmitter(*self._rates)
        m.submodules.receiver = receiver = UartReceiver(*self._rates)
        m.d.comb += receiver.pin.eq(transmitter.pin)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("stall", [0.0, 0.9])
@pytest.mark.parametrize("clock, baud", RATES)
def test_loopback(clock, baud, stall, seed):
    dut = Loop(clock, baud)
    content = random.Random(seed).randbytes(20)
    found = []

    async def producer(ctx):
        await feed(ctx, dut.i, content, stalls(seed, stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.o, len(content), itertools.repeat(0)))

    run(dut, producer, consumer)
    assert bytes(found) == content


def test_too_slow_a_clock_is_refused():
    with pytest.raises(ValueError, match="clock_hz must be at least 8 times the baud rate of 1000"):
        bit_ratio(7_999, 1_000)


class Contract(wiring.Component):
    """A receiver on any line, with any neighbour."""

    def __init__(self, dut):
        self._dut = dut
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self._dut
        m.d.comb += self._dut.pin.eq(self.pin)
        wiring.connect(m, self._dut.o, wiring.flipped(self.o))
        held_until_taken(m, self.o, Assert)
        return m


def test_received_bytes_stand(tmp_path):
    prove(Contract(UartReceiver(80, 3)), tmp_path)
