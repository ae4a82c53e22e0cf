"""The primitives of streams in Amaranth's simulator, and their contracts proved."""

import itertools
import random

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from tritstream_hw.stream.delay import delay
from tritstream_hw.stream.packet_queue import PacketQueue
from tritstream_hw.stream.reader import Reader
from tritstream_hw.stream.register import Register
from tritstream_hw.stream.skid import Skid
from tritstream_sim.agents.contract import held_until_taken, prove


class ReaderWithMemory(wiring.Component):
    """A reader and a memory whose words are their addresses."""

    def __init__(self, bits):
        super().__init__({"i": In(stream.Signature(bits)), "o": Out(stream.Signature(bits))})
        self._bits = bits

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = Reader(self._bits, self._bits)
        m.submodules.memory = memory = Memory(shape=self._bits, depth=1 << self._bits,
                                              init=range(1 << self._bits))
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, reader.memory, memory.read_port())
        wiring.connect(m, reader.o, wiring.flipped(self.o))
        return m


PRIMITIVES = [Skid, Register, ReaderWithMemory]


def run(dut, offers, accepts, cycles):
    """Offer 0, 1, 2 … by one pattern and accept by another; return what came, and when."""
    got = []

    async def testbench(ctx):
        sent, pending = 0, False
        for cycle, offer, accept in zip(range(cycles), offers, accepts, strict=False):
            pending = pending or bool(offer)
            ctx.set(dut.i.valid, pending)
            ctx.set(dut.i.payload, sent if pending else -1)
            ctx.set(dut.o.ready, accept)
            _, _, taken, valid, payload = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload)
            if pending and taken:
                sent, pending = sent + 1, False
            if valid and accept:
                got.append((cycle, payload))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return got


PATTERNS = [[1], [1, 0], [0, 0, 1], [1, 1, 0, 1]]


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_nothing_is_lost_or_doubled(primitive):
    for offers, accepts in itertools.product(PATTERNS, PATTERNS):
        got = run(primitive(8), itertools.cycle(offers), itertools.cycle(accepts), 80)
        assert [payload for _, payload in got] == list(range(len(got))), (offers, accepts)
        share = min(sum(offers) / len(offers), sum(accepts) / len(accepts))
        assert len(got) >= 80 * share * 0.7, (offers, accepts)


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_one_payload_per_cycle_and_a_latency_of_one(primitive):
    got = run(primitive(8), itertools.repeat(1), itertools.repeat(1), 40)
    assert got == [(cycle, cycle - 1) for cycle in range(1, 40)]


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_delay(cycles):
    m = Module()
    value = Signal(8)
    late = delay(m, value, cycles, name="late")

    async def testbench(ctx):
        seen = []
        for sent in range(10, 20):
            ctx.set(value, sent)
            *_, now = await ctx.tick().sample(late)
            seen.append(now)
        assert seen == [0] * cycles + list(range(10, 20 - cycles))

    if not cycles:
        m.d.sync += Signal().eq(0)      # a clock for the simulator
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


class Contract(wiring.Component):
    """Neighbours that keep the stream contract, and the claim that a primitive does."""

    def __init__(self, dut):
        self.dut = dut
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        wiring.connect(m, wiring.flipped(self), self.dut)
        held_until_taken(m, self.i, Assume)
        held_until_taken(m, self.o, Assert)
        self.invariants(m)
        return m

    def invariants(self, m):
        """Add what else holds, and what the neighbours promise beside the streams."""


class ReaderContract(Contract):
    """A reader whose memory keeps its output while it is not enabled."""

    def invariants(self, m):
        enabled, data = Signal(), Signal.like(self.memory.data)
        m.d.sync += [enabled.eq(self.memory.en), data.eq(self.memory.data)]
        with m.If(~enabled):
            m.d.comb += Assume(self.memory.data == data)
        with m.If(self.o.valid & ~self.o.ready):
            m.d.comb += Assert(~self.memory.en)


@pytest.mark.parametrize("contract", [
    lambda: Contract(Skid(2)), lambda: Contract(Register(2)), lambda: ReaderContract(Reader(2, 2)),
], ids=["skid", "register", "reader"])
def test_contract(contract, tmp_path):
    prove(contract(), tmp_path)


@pytest.mark.parametrize("accepts", PATTERNS)
def test_a_packet_counts_once_it_is_committed(accepts, seed):
    """Packets of 0 to 8 payloads, of which some are taken back, into a queue of 8 places."""
    dut, rng = PacketQueue(8, 8), random.Random(seed)
    expected, got = [], []

    async def write(ctx):
        for _ in range(60):
            packet = [rng.randrange(256) for _ in range(rng.randrange(9))]
            while ctx.get(dut.room) < len(packet):
                await ctx.tick()
            await strobe(ctx, dut.begin)
            for payload in packet:
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload, payload)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                if rng.randrange(2):
                    await ctx.tick()
            if rng.randrange(3):
                expected.extend(packet)
                await strobe(ctx, dut.commit)
                await ctx.tick()                # until then `room` does not know of it
        await ctx.tick().repeat(80)

    async def strobe(ctx, signal):
        ctx.set(signal, 1)
        await ctx.tick()
        ctx.set(signal, 0)

    async def read(ctx):
        for accept in itertools.cycle(accepts):
            ctx.set(dut.o.ready, accept)
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and accept:
                got.append(payload)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(write)
    simulator.add_testbench(read, background=True)
    simulator.run()
    assert got == expected and len(got) > 60


def test_a_cleared_queue_is_empty_and_has_all_its_room():
    dut = PacketQueue(8, 4)

    async def testbench(ctx):
        for first in (1, 5):
            ctx.set(dut.i.valid, 1)
            for payload in range(first, first + 4):
                ctx.set(dut.i.payload, payload)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.commit, 1)
            await ctx.tick()
            ctx.set(dut.commit, 0)
            await ctx.tick().repeat(3)
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (1, first)
            assert ctx.get(dut.room) == 1           # the reader holds one
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert (ctx.get(dut.o.valid), ctx.get(dut.room)) == (0, 4)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
