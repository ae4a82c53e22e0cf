"""Memory, sources and the digest of the memory, in Amaranth's simulator."""

import itertools
import random
import zlib

import pytest
from amaranth import *
from amaranth.hdl import Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream_hw.control.digest import Digest
from tritstream_hw.control.reply import ReplySerialiser
from tritstream_hw.memory.player import CHUNK, LinkSource, MemorySource, PassSource
from tritstream_hw.memory.port import BlockMemory
from tritstream_sim.agents.contract import held_until_taken, prove
from tritstream_sim.agents.pysim import collect, feed, run, stalls

STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]


def config_of(beat_bytes=4, memory_bytes=4096):
    return BuildConfig(beat_bytes=beat_bytes, elements=1, memory_bytes=memory_bytes)


def beat_of(address, beat_bytes=4):
    """A beat that differs from its neighbours in every byte."""
    return [(address * 37 + n * 101 + (address >> 8)) & 255 for n in range(beat_bytes)]


def bytes_of(beats):
    return [list(beat) for beat in beats]


# Block memory.


def filled(dut, count, beat_bytes=4):
    """Testbench that writes `count` beats."""
    async def fill(ctx):
        writes = [{"beat": n, "data": beat_of(n, beat_bytes)} for n in range(count)]
        await feed(ctx, dut.bus.write, writes, itertools.repeat(0))
    return fill


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_block_memory_reads_what_was_written(stall, seed):
    dut = BlockMemory(config_of(memory_bytes=256))
    rng = random.Random(seed)
    requests = [(beat, rng.randrange(1, 65 - beat)) for beat in rng.choices(range(64), k=12)]
    expected = [beat_of(n) for beat, beats in requests for n in range(beat, beat + beats)]
    found = []

    async def reader(ctx):
        await filled(dut, 64)(ctx)
        asked = [{"beat": beat, "beats": beats} for beat, beats in requests]
        await feed(ctx, dut.bus.read_request, asked, stalls(seed, stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.bus.read_data, len(expected), stalls(seed + 1, stall)))
        for _ in range(20):
            await ctx.tick()
            assert not ctx.get(dut.bus.read_data.valid)

    run(dut, reader, consumer)
    assert bytes_of(found) == expected


def test_block_memory_has_no_gap_between_requests():
    dut = BlockMemory(config_of(memory_bytes=256))
    valid = []

    async def reader(ctx):
        await filled(dut, 64)(ctx)
        ctx.set(dut.bus.read_data.ready, 1)
        asked = [{"beat": beat, "beats": 8} for beat in (0, 8, 32)]
        await feed(ctx, dut.bus.read_request, asked, itertools.repeat(0))

    async def watcher(ctx):
        for _ in range(100):
            _, _, seen = await ctx.tick().sample(dut.bus.read_data.valid)
            valid.append(seen)

    run(dut, reader, watcher)
    assert "".join(str(int(v)) for v in valid).strip("0") == "1" * 24


# Memory source.


async def serve(ctx, dut, log, latency, idle):
    """Be the memory behind a `MemorySource`, for ever."""
    queue = []
    ctx.set(dut.read_request.ready, 1)
    pause, cycle, offered = next(idle), 0, False
    while True:
        if not offered and queue and queue[0][0] <= cycle:
            if pause:
                pause -= 1
            else:
                ctx.set(dut.read_data.payload, beat_of(queue[0][1]))
                ctx.set(dut.read_data.valid, 1)
                offered = True
        _, _, valid, beat, beats, taken = await ctx.tick().sample(
            dut.read_request.valid, dut.read_request.p.beat, dut.read_request.p.beats,
            dut.read_data.ready)
        cycle += 1
        if offered and taken:
            queue.pop(0)
            ctx.set(dut.read_data.valid, 0)
            offered, pause = False, next(idle)
        if valid:
            log.append((beat, beats))
            queue += [(cycle + latency, n) for n in range(beat, beat + beats)]


def simulate_source(regions, *, latency, i_stall=0.0, o_stall=0.0, seed=1):
    """Read regions; return the requests and the cycles between the first and the last beat."""
    dut = MemorySource(config_of())
    expected = [beat_of(n) for beat, beats in regions for n in range(beat, beat + beats)]
    found, log, cycles = [], [], []

    async def memory(ctx):
        await serve(ctx, dut, log, latency, stalls(seed, i_stall))

    async def asker(ctx):
        asked = [{"beat": beat, "beats": beats} for beat, beats in regions]
        await feed(ctx, dut.region, asked, itertools.repeat(0))

    async def consumer(ctx):
        pauses, pause = stalls(seed + 1, o_stall), 0
        for cycle in range(20 + 10 * len(expected)):
            ctx.set(dut.o.ready, pause == 0)
            _, _, valid, beat = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if pause:
                pause -= 1
            elif valid:
                found.append(list(beat))
                cycles.append(cycle)
                pause = next(pauses)
            if cycles and len(found) >= len(expected) and cycle > cycles[-1] + 20:
                break

    run(dut, asker, consumer, background=[memory])
    assert found == expected
    return log, cycles[-1] - cycles[0] + 1


@pytest.mark.parametrize("i_stall, o_stall", STALLS)
def test_memory_source_reads_its_regions(i_stall, o_stall, seed):
    regions = [(5, 3), (900, 0), (1000, 2 * CHUNK + 7), (0, 1), (7, CHUNK)]
    log, _ = simulate_source(regions, latency=7, i_stall=i_stall, o_stall=o_stall, seed=seed)
    assert log == [(5, 3), (1000, CHUNK), (1000 + CHUNK, CHUNK), (1000 + 2 * CHUNK, 7), (0, 1),
                   (7, CHUNK)]


def test_memory_source_hides_the_latency():
    _, cycles = simulate_source([(0, 5 * CHUNK)], latency=CHUNK - 10)
    assert cycles == 5 * CHUNK


def test_memory_source_drops_what_was_abandoned():
    dut = MemorySource(config_of())
    found = []

    async def memory(ctx):
        await serve(ctx, dut, [], 30, itertools.repeat(0))

    async def testbench(ctx):
        for wait in (0, 1, 2, 3, 29, 33, 60, 400):
            await feed(ctx, dut.region, [{"beat": 500, "beats": 1000}], itertools.repeat(0))
            ctx.set(dut.o.ready, 1)
            for _ in range(wait):
                await ctx.tick()
            ctx.set(dut.o.ready, 0)
            ctx.set(dut.abandon, 1)
            await ctx.tick()
            ctx.set(dut.abandon, 0)
            await feed(ctx, dut.region, [{"beat": 3, "beats": 2}], itertools.repeat(0))
            found.append(bytes_of(await collect(ctx, dut.o, 2, itertools.repeat(0))))

    run(dut, testbench, background=[memory])
    assert found == [[beat_of(3), beat_of(4)]] * 8


# Sources of a pass.


@pytest.mark.parametrize("i_stall, o_stall", STALLS)
@pytest.mark.parametrize("beat_bytes", [1, 8])
def test_link_source_assembles_beats(beat_bytes, i_stall, o_stall, seed):
    dut = LinkSource(config_of(beat_bytes))
    content = random.Random(seed).randbytes(40 * beat_bytes)
    found = []

    async def producer(ctx):
        await feed(ctx, dut.i, content, stalls(seed, i_stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.o, 40, stalls(seed + 1, o_stall)))

    run(dut, producer, consumer)
    assert b"".join(bytes(list(beat)) for beat in found) == content


def test_link_source_takes_a_byte_per_cycle():
    dut = LinkSource(config_of(4))
    taken = []

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        for n in range(17):
            ctx.set(dut.i.payload, n)
            _, _, ready, valid, beat = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload)
            assert ready
            if valid:
                taken.append(list(beat))

    run(dut, testbench)
    assert taken == [[n, n + 1, n + 2, n + 3] for n in (0, 4, 8, 12)]


@pytest.mark.parametrize("streamed", [0, 1])
@pytest.mark.parametrize("lead, row, tape, beat_bytes", [
    (1, 2, 4, 16), (0, 1, 3, 64), (2, 1, 2, 1), (3, 0, 3, 64)])
def test_pass_source_splices_the_row(streamed, lead, row, tape, beat_bytes):
    dut = PassSource(config_of(beat_bytes))
    per_unit = UNIT // beat_bytes
    play = {"streamed": streamed, "tape": 10, "lead_units": lead, "row": 70, "row_units": row,
            "tape_units": tape}
    count = per_unit * (row + tape)
    regions, found = [], []
    source = dut.link if streamed else dut.memory
    beats = [beat_of(n, beat_bytes) for n in range(count)]

    async def producer(ctx):
        await feed(ctx, source, beats, stalls(1, 0.3))

    async def asked(ctx):
        if not streamed:
            regions.extend(await collect(ctx, dut.region, 3, stalls(2, 0.3)))

    async def player(ctx):
        await feed(ctx, dut.play, [play], itertools.repeat(0))
        assert len(found) == count              # taken when all has gone

    async def consumer(ctx):
        for pause in itertools.islice(stalls(3, 0.3), count):
            found.extend(await collect(ctx, dut.o, 1, iter([pause])))

    run(dut, producer, asked, player, consumer)
    assert bytes_of(found) == beats
    if not streamed:
        assert [(r.beat, r.beats) for r in regions] == [
            (10 * per_unit, lead * per_unit), (70 * per_unit, row * per_unit),
            ((10 + lead) * per_unit, (tape - lead) * per_unit)]


# Digest.


@pytest.mark.parametrize("beat_bytes", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_digest_is_the_crc_of_the_bytes(beat_bytes, stall, seed):
    config = config_of(beat_bytes)
    dut = Digest(config)
    rng = random.Random(seed)
    extents = [(3, 2), (0, 1), (63, 1), (5, 0)]
    contents = [rng.randbytes(UNIT * units) for _, units in extents]
    replies, regions = [], []

    async def host(ctx):
        commands = [{"unit": unit, "units": units} for unit, units in extents]
        await feed(ctx, dut.command, commands, itertools.repeat(0))

    async def memory(ctx):
        for content in contents:
            regions.extend(await collect(ctx, dut.region, 1, itertools.repeat(0)))
            beats = [list(content[n:n + beat_bytes]) for n in range(0, len(content), beat_bytes)]
            await feed(ctx, dut.beats, beats, stalls(seed, stall))

    async def listener(ctx):
        replies.extend(await collect(ctx, dut.reply, len(extents), stalls(seed + 1, stall)))

    run(dut, host, memory, listener)
    per_unit = UNIT // beat_bytes
    assert [(r.beat, r.beats) for r in regions] == [
        (unit * per_unit, units * per_unit) for unit, units in extents]
    assert [int(reply.data).to_bytes(8, "little")[:6] for reply in replies] == [
        b"\x03\0" + zlib.crc32(content).to_bytes(4, "little") for content in contents]


# Proofs.


class Contract(wiring.Component):
    """A component between neighbours that keep the rules of streams.

    What it offers on the streams `held` has to stand.
    """

    def __init__(self, dut, held):
        self._dut, self._held = dut, held
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self._dut
        for name, member in self.signature.members.items():
            port, inner = getattr(self, name), getattr(self._dut, name)
            if member.is_port:
                m.d.comb += inner.eq(port)
            elif member.flow is In:
                wiring.connect(m, wiring.flipped(port), inner)
                held_until_taken(m, port, Assume)
            else:
                wiring.connect(m, inner, wiring.flipped(port))
                if name in self._held:
                    held_until_taken(m, port, Assert)
        return m


@pytest.mark.parametrize("make, held", [
    (lambda: LinkSource(config_of(2)), ["o"]),
    (ReplySerialiser, ["o"]),
    (lambda: MemorySource(config_of(1)), ["read_request"]),     # whenever it is told to abandon
], ids=["link source", "reply", "memory source"])
def test_offers_stand(make, held, tmp_path):
    prove(Contract(make(), held), tmp_path)
