"""Memory, player and what reads the memory, in Amaranth's simulator; their contracts, proved."""

import itertools
import random
import zlib

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import UNIT
from tritstream.link.protocol import Code, Space, Status
from tritstream_hw.control.access import Access
from tritstream_hw.control.playlist import Playlist
from tritstream_hw.control.spaces import Spaces
from tritstream_hw.memory.block import BlockMemory
from tritstream_hw.memory.channels import Channels
from tritstream_hw.memory.fetcher import Fetcher
from tritstream_hw.memory.player import Player, Sink
from tritstream_hw.memory.port import MOST_BEATS, MemorySignature, beats_per_unit
from tritstream_hw.stream.gearbox import Gearbox
from tritstream_sim.agents.contract import held_until_taken, prove
from tritstream_sim.agents.memory import Memory
from tritstream_sim.agents.pysim import collect, feed, run, stalls

STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]
NEVER = itertools.repeat(0)


def beat_of(address, beat_bytes=4):
    """A beat that differs from its neighbours in every byte."""
    return [(address * 37 + n * 101 + (address >> 8)) & 255 for n in range(beat_bytes)]


def bytes_of(beats):
    return [list(beat) for beat in beats]


# Block memory.


def reads(beat, beats):
    return {"write": 0, "beat": beat, "beats": beats, "data": [0] * 4}


def filled(dut, count, beat_bytes=4):
    """Testbench that writes `count` beats."""
    async def fill(ctx):
        writes = [{"write": 1, "beat": n, "beats": 1, "data": beat_of(n, beat_bytes)}
                  for n in range(count)]
        await feed(ctx, dut.bus.command, writes, NEVER)
    return fill


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_block_memory_reads_what_was_written(stall, seed):
    dut = BlockMemory(beat_bytes=4, beats=64)
    rng = random.Random(seed)
    requests = [(beat, rng.randrange(1, 65 - beat)) for beat in rng.choices(range(64), k=12)]
    expected = [beat_of(n) for beat, beats in requests for n in range(beat, beat + beats)]
    found = []

    async def reader(ctx):
        await filled(dut, 64)(ctx)
        asked = [reads(beat, beats) for beat, beats in requests]
        await feed(ctx, dut.bus.command, asked, stalls(seed, stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.bus.data, len(expected), stalls(seed + 1, stall)))
        for _ in range(20):
            await ctx.tick()
            assert not ctx.get(dut.bus.data.valid)

    run(dut, reader, consumer)
    assert bytes_of(found) == expected


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_block_memory_keeps_the_order_of_its_commands(stall, seed):
    """A read sees every write before it, and none behind it."""
    dut = BlockMemory(beat_bytes=4, beats=64)
    rng = random.Random(seed)
    content, commands, expected = [[0] * 4 for _ in range(64)], [], []
    for n in range(120):
        beat = rng.randrange(8)
        if rng.random() < 0.5:
            content[beat] = beat_of(1000 + n)
            commands.append({"write": 1, "beat": beat, "beats": 1, "data": content[beat]})
        else:
            beats = rng.randrange(1, 9 - beat)
            commands.append(reads(beat, beats))
            expected += content[beat:beat + beats]
    found = []

    async def master(ctx):
        await feed(ctx, dut.bus.command, commands, NEVER)

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.bus.data, len(expected), stalls(seed, stall)))

    run(dut, master, consumer)
    assert bytes_of(found) == expected


def test_block_memory_has_no_gap_between_requests():
    dut = BlockMemory(beat_bytes=4, beats=64)
    valid = []

    async def reader(ctx):
        await filled(dut, 64)(ctx)
        ctx.set(dut.bus.data.ready, 1)
        await feed(ctx, dut.bus.command, [reads(beat, 8) for beat in (0, 8, 32)], NEVER)

    async def watcher(ctx):
        for _ in range(100):
            _, _, seen = await ctx.tick().sample(dut.bus.data.valid)
            valid.append(seen)

    run(dut, reader, watcher)
    assert "".join(str(int(v)) for v in valid).strip("0") == "1" * 24


# Several memories.


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.7])
def test_memories_side_by_side_are_one(stall, seed):
    """Each at a pace of its own; a read sees every write before it, and none behind it."""
    size, groups = 2, 3
    dut = Channels(beat_bytes=size, groups=groups)
    memories = [Memory(port, [[0] * size for _ in range(8)], latency=5 * n,
                       idle=stalls(seed + n, stall)) for n, port in enumerate(dut.memories)]
    rng = random.Random(seed)
    content, commands, expected = [[0] * size * groups for _ in range(8)], [], []
    for n in range(150):
        beat = rng.randrange(8)
        if rng.random() < 0.4:
            content[beat] = beat_of(1000 + n, size * groups)
            commands.append({"write": 1, "beat": beat, "beats": 1, "data": content[beat]})
        else:
            beats = rng.randrange(1, 9 - beat)
            commands.append({"write": 0, "beat": beat, "beats": beats,
                             "data": [0] * size * groups})
            expected += content[beat:beat + beats]
    found = []

    async def master(ctx):
        await feed(ctx, dut.bus.command, commands, stalls(seed + 4, stall / 2))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.bus.data, len(expected), stalls(seed + 5, stall / 2)))

    run(dut, master, consumer, background=[memory.run for memory in memories])
    assert bytes_of(found) == expected
    for n, memory in enumerate(memories):
        assert memory.content == [stripe[n * size:(n + 1) * size] for stripe in content]


# Fetcher.


class Reading(wiring.Component):
    """A fetcher at the port of a memory, which it does not share; the other ports are its own."""

    def __init__(self):
        self.fetcher = Fetcher(beat_bytes=4, memory_beats=4096)
        super().__init__({"memory": Out(MemorySignature(4))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetcher = fetcher = self.fetcher
        command, request = self.memory.command, fetcher.request
        wiring.connect(m, wiring.flipped(self.memory.data), fetcher.data)
        m.d.comb += [
            command.p.beat.eq(request.p.beat),
            command.p.beats.eq(request.p.beats),
            command.valid.eq(request.valid),
            request.ready.eq(command.ready),
        ]
        return m


def memory_of(port, beats, *, beat_bytes=4, **options):
    """The memory behind a port, filled."""
    return Memory(port, [beat_of(n, beat_bytes) for n in range(beats)], **options)


def simulate_fetcher(regions, *, latency, i_stall=0.0, o_stall=0.0, seed=1):
    """Read regions; return the reads and the cycles between the first and the last beat."""
    device = Reading()
    dut, memory = device.fetcher, memory_of(device.memory, 4096, latency=latency,
                                            idle=stalls(seed, i_stall))
    expected = [beat_of(n) for beat, beats in regions for n in range(beat, beat + beats)]
    found, cycles, lasts = [], [], []

    async def asker(ctx):
        asked = [{"beat": beat, "beats": beats} for beat, beats in regions]
        await feed(ctx, dut.region, asked, NEVER)

    async def consumer(ctx):
        pauses, pause = stalls(seed + 1, o_stall), 0
        for cycle in range(20 + 10 * len(expected)):
            ctx.set(dut.o.ready, pause == 0)
            _, _, valid, beat, last, idle = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.last, dut.idle)
            if pause:
                pause -= 1
            elif valid:
                found.append(list(beat))
                cycles.append(cycle)
                lasts.append(last)
                assert not idle
                pause = next(pauses)
            if cycles and len(found) >= len(expected) and cycle > cycles[-1] + 20:
                assert idle
                break

    run(device, asker, consumer, background=[memory.run])
    assert found == expected
    assert lasts[-1]
    return memory.reads, cycles[-1] - cycles[0] + 1


@pytest.mark.parametrize("i_stall, o_stall", STALLS)
def test_fetcher_reads_its_regions(i_stall, o_stall, seed):
    most = MOST_BEATS
    regions = [(5, 3), (900, 0), (1000, 2 * most + 7), (0, 1), (7, most)]
    reads, _ = simulate_fetcher(regions, latency=7, i_stall=i_stall, o_stall=o_stall, seed=seed)
    assert reads == [(5, 3), (1000, most), (1000 + most, most), (1000 + 2 * most, 7), (0, 1),
                     (7, most)]


def test_fetcher_hides_the_latency():
    _, cycles = simulate_fetcher([(0, 5 * MOST_BEATS)], latency=MOST_BEATS - 10)
    assert cycles == 5 * MOST_BEATS


def test_fetcher_drops_what_was_abandoned():
    device = Reading()
    dut, memory = device.fetcher, memory_of(device.memory, 4096, latency=30)
    found = []

    async def testbench(ctx):
        for wait in (0, 1, 2, 3, 29, 33, 60, 400):
            await feed(ctx, dut.region, [{"beat": 500, "beats": 1000}], NEVER)
            ctx.set(dut.o.ready, 1)
            for _ in range(wait):
                await ctx.tick()
            ctx.set(dut.o.ready, 0)
            ctx.set(dut.abandon, 1)
            await ctx.tick()
            ctx.set(dut.abandon, 0)
            await feed(ctx, dut.region, [{"beat": 3, "beats": 2}], NEVER)
            found.append(bytes_of(await collect(ctx, dut.o, 2, NEVER)))

    run(device, testbench, background=[memory.run])
    assert found == [[beat_of(3), beat_of(4)]] * 8


# Gearbox.


@pytest.mark.parametrize("i_stall, o_stall", STALLS)
@pytest.mark.parametrize("size", [1, 8])
def test_gearbox_assembles_words(size, i_stall, o_stall, seed):
    dut = Gearbox(size)
    content = random.Random(seed).randbytes(40 * size)
    found = []

    async def producer(ctx):
        await feed(ctx, dut.i, content, stalls(seed, i_stall))

    async def consumer(ctx):
        found.extend(await collect(ctx, dut.o, 40, stalls(seed + 1, o_stall)))

    run(dut, producer, consumer)
    assert b"".join(bytes(list(beat)) for beat in found) == content


def test_gearbox_takes_a_byte_per_cycle():
    dut = Gearbox(4)
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


# A pass as moves.


@pytest.mark.parametrize("streamed", [0, 1])
@pytest.mark.parametrize("lead, row, tape", [(1, 2, 4), (0, 1, 3), (2, 1, 2), (3, 3, 70_000)])
@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_playlist_splices_the_rows(streamed, lead, row, tape, tokens):
    dut = Playlist(memory_units=1 << 21, lanes=3)
    rows = [1 << 20, 77, 1 << 19][:tokens]
    what = {"streamed": streamed, "tape": 10, "lead_units": lead, "rows": rows,
            "last": tokens - 1, "row_units": row, "tape_units": tape}
    expected = [(0, tape), *[(0, row)] * tokens] if streamed else [
        (10, lead), *((unit, row) for unit in rows),
        (10 + lead, tape - lead)][:1 + tokens + (tape != lead)]
    moves = []

    async def host(ctx):
        for _ in range(2):
            await feed(ctx, dut.i, [what], NEVER)

    async def listener(ctx):
        moves.extend(await collect(ctx, dut.o, 2 * len(expected), stalls(2, 0.3)))

    run(dut, host, listener)
    assert [(0 if streamed else move.unit, move.units) for move in moves] == expected * 2
    assert [move.last for move in moves] == ([0] * (len(expected) - 1) + [1]) * 2
    assert all(move.sink == Sink.ACCELERATOR and move.streamed == streamed for move in moves)


# Player.


def player(beat_bytes, **options):
    """A player, and the 64 empty units of memory behind it."""
    dut, beats = Player(beat_bytes=beat_bytes, memory_units=64), 64 * beats_per_unit(beat_bytes)
    return dut, Memory(dut.memory, [[0] * beat_bytes for _ in range(beats)], **options)


def move(sink, unit, units, *, streamed=0, last=0):
    return {"streamed": streamed, "sink": sink, "unit": unit, "units": units, "last": last}


@pytest.mark.parametrize("beat_bytes", [1, 12, 64, 128])
@pytest.mark.parametrize("stall, latency", [(0.0, 0), (0.5, 20)])
def test_player_moves_beats(beat_bytes, stall, latency, seed):
    """Into the memory, out of it to both sinks, and past it; then again after it was abandoned."""
    dut, memory = player(beat_bytes, latency=latency, idle=stalls(seed + 4, stall / 2))
    port = dut.control
    rng = random.Random(seed)
    per_unit = beats_per_unit(beat_bytes)
    unit = per_unit * beat_bytes
    content = rng.randbytes(12 * unit)
    passed = rng.randbytes(3 * unit)
    rounds = []

    def flat(beats):
        return b"".join(bytes(list(beat.data)) for beat in beats)

    async def host(ctx):
        for _ in range(2):
            await feed(ctx, port.command, [move(Sink.MEMORY, 20, 12, streamed=1)], NEVER)
            await feed(ctx, port.bytes, content, stalls(seed, stall / 4))
            await feed(ctx, port.command, [
                move(Sink.DIGEST, 22, 3, last=1),
                move(Sink.ACCELERATOR, 20, 1), move(Sink.ACCELERATOR, 31, 1),
                move(Sink.ACCELERATOR, 21, 4, last=1),
                move(Sink.ACCELERATOR, 0, 2, streamed=1)], stalls(seed, stall))
            await feed(ctx, port.bytes, passed[:2 * unit], NEVER)
            await feed(ctx, port.command, [
                move(Sink.ACCELERATOR, 0, 0, streamed=1),
                move(Sink.ACCELERATOR, 0, 1, streamed=1, last=1)], NEVER)
            await feed(ctx, port.bytes, passed[2 * unit:], stalls(seed + 3, stall / 4))
            while not ctx.get(port.idle):
                await ctx.tick()
            await feed(ctx, port.command, [move(Sink.ACCELERATOR, 0, 60)], NEVER)
            for _ in range(rng.randrange(12)):
                await ctx.tick()
            ctx.set(dut.abandon, 1)
            await ctx.tick()
            ctx.set(dut.abandon, 0)
            rounds.append("over")

    async def digest(ctx):
        for _ in range(2):
            beats = await collect(ctx, port.digest, 3 * per_unit, stalls(seed + 1, stall))
            assert flat(beats) == content[2 * unit:5 * unit]
            assert [beat.last for beat in beats] == [0] * (3 * per_unit - 1) + [1]

    async def accelerator(ctx):
        for number in range(2):
            while len(rounds) < number:
                await ctx.tick()
            beats = await collect(ctx, dut.accelerator, 6 * per_unit, stalls(seed + 2, stall))
            assert flat(beats) == content[:unit] + content[11 * unit:] + content[unit:5 * unit]
            assert [beat.last for beat in beats] == [0] * (6 * per_unit - 1) + [1]
            beats = await collect(ctx, dut.accelerator, 3 * per_unit, NEVER)
            assert flat(beats) == passed
            assert [beat.last for beat in beats] == [0] * (3 * per_unit - 1) + [1]

    run(dut, host, digest, accelerator, background=[memory.run])


def test_player_makes_no_gap_between_moves():
    dut, memory = player(4)
    valid = []

    async def host(ctx):
        moves = [move(Sink.ACCELERATOR, unit, units) for unit, units in ((3, 1), (9, 2), (4, 5))]
        await feed(ctx, dut.control.command, moves, NEVER)

    async def accelerator(ctx):
        ctx.set(dut.accelerator.ready, 1)
        for _ in range(200):
            _, _, seen = await ctx.tick().sample(dut.accelerator.valid)
            valid.append(seen)

    run(dut, host, accelerator, background=[memory.run])
    assert "".join(str(int(v)) for v in valid).strip("0") == "1" * (8 * 16)


@pytest.mark.parametrize("streamed", [0, 1])
def test_player_drops_beats(streamed):
    """What is dropped is neither played nor written, though all of it is taken."""
    dut, memory = player(4)
    port, played = dut.control, dut.accelerator

    async def host(ctx):
        await feed(ctx, port.command, [move(Sink.ACCELERATOR, 0, 2, streamed=streamed)], NEVER)
        if streamed:
            await feed(ctx, port.bytes, bytes(2 * UNIT), NEVER)
        while not ctx.get(port.idle):
            await ctx.tick()
        await feed(ctx, port.command, [move(Sink.MEMORY, 0, 1, streamed=1)], NEVER)
        await feed(ctx, port.bytes, bytes([255]) * UNIT, NEVER)
        while not ctx.get(port.idle):
            await ctx.tick()
        ctx.set(port.drop, 0)
        await feed(ctx, port.command, [move(Sink.ACCELERATOR, 0, 1)], NEVER)
        beats = await collect(ctx, played, 16, NEVER)
        assert all(bytes(list(beat.data)) == bytes(4) for beat in beats)

    async def watch(ctx):
        ctx.set(port.drop, 1)
        while ctx.get(port.drop):
            _, _, valid = await ctx.tick().sample(played.valid & port.drop)
            assert not valid

    run(dut, watch, host, background=[memory.run])


# WRITE and DIGEST.


@pytest.mark.parametrize("beat_bytes", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_digest_is_the_crc_of_the_bytes(beat_bytes, stall, seed):
    dut = Access(beat_bytes=beat_bytes, memory_units=64, space_words={Space.STATE: 8})
    rng = random.Random(seed)
    extents = [(3, 2), (0, 1), (63, 1), (5, 0)]
    contents = [rng.randbytes(UNIT * units) for _, units in extents]
    replies, moves = [], []

    async def host(ctx):
        for unit, units in extents:
            extent = {"unit": unit, "units": units}
            # All come from the same bytes.
            ctx.set(dut.read.payload, {"space": 0, "address": unit, "words": units})
            await feed(ctx, dut.digest, [extent], NEVER)

    async def beats_of(ctx):
        for content in contents:
            ctx.set(dut.idle, 1)
            moves.extend(await collect(ctx, dut.move, 1, NEVER))
            ctx.set(dut.idle, 0)
            beats = [{"data": list(content[n:n + beat_bytes]), "last": 0}
                     for n in range(0, len(content), beat_bytes)]
            await feed(ctx, dut.beats, beats, stalls(seed, stall))
        ctx.set(dut.idle, 1)

    async def listener(ctx):
        replies.extend(await collect(ctx, dut.reply, 6 * len(extents), stalls(seed + 1, stall)))

    run(dut, host, beats_of, listener)
    assert [(r.unit, r.units, r.sink, r.streamed) for r in moves] == [
        (*extent, Sink.DIGEST, 0) for extent in extents]
    assert bytes(replies) == b"".join(
        bytes([Code.DIGEST, Status.OK]) + zlib.crc32(content).to_bytes(4, "little")
        for content in contents)


# READ and STORE.


@pytest.mark.parametrize("beat_bytes, stall", [(1, 0.5), (2, 0.5), (4, 0.0), (4, 0.5), (64, 0.5)])
def test_words_are_kept_and_recalled(beat_bytes, stall, seed):
    """As far as the units hold them; these are filled up, and what is behind the words is left."""
    dut = Access(beat_bytes=beat_bytes, memory_units=64, space_words={Space.STATE: 64})
    rng = random.Random(seed)
    content = [rng.getrandbits(32) for _ in range(64)]
    moves, replies, found = [], [], []
    asked = [(Code.KEEP, 3, 1, 5, 9), (Code.KEEP, 0, 2, 0, 32), (Code.KEEP, 9, 1, 40, 17),
             (Code.KEEP, 63, 1, 0, 0), (Code.KEEP, 4, 0, 7, 3), (Code.RECALL, 3, 1, 5, 9),
             (Code.RECALL, 60, 4, 0, 64), (Code.RECALL, 7, 1, 32, 20), (Code.RECALL, 2, 1, 1, 0),
             (Code.RECALL, 2, 0, 1, 5), (Code.KEEP, 62, 2, 3, 20)]
    kept = {n: rng.randbytes(UNIT * units)
            for n, (code, _, units, *_) in enumerate(asked) if code == Code.RECALL}
    expected, words = [], list(content)
    for n, (code, _, units, address, count) in enumerate(asked):
        size, place = UNIT * units, slice(address, address + count)
        if code == Code.RECALL:
            here = min(count, size // 4)
            words[address:address + here] = memoryview(kept[n]).cast("I")[:here]
        else:
            data = b"".join(word.to_bytes(4, "little") for word in words[place])
            expected.append(data[:size].ljust(size, b"\0"))

    async def host(ctx):
        for code, unit, units, address, count in asked:
            access = {"space": Space.STATE, "address": address, "words": count}
            transfer = {"unit": unit, "units": units, **access}
            # All come from the same bytes.
            ctx.set(dut.keep.payload, transfer)
            ctx.set(dut.read.payload, access)
            await feed(ctx, getattr(dut, code.name.lower()), [transfer], NEVER)

    async def player(ctx):
        for n, (code, _, units, *_) in enumerate(asked):
            ctx.set(dut.idle, 1)
            moves.extend(await collect(ctx, dut.move, 1, NEVER))
            ctx.set(dut.idle, 0)
            if code == Code.KEEP:
                found.append(bytes(await collect(
                    ctx, dut.kept, UNIT * units, stalls(seed + n, stall))))
            else:
                beats = [{"data": list(kept[n][at:at + beat_bytes]), "last": 0}
                         for at in range(0, UNIT * units, beat_bytes)]
                await feed(ctx, dut.beats, beats, stalls(seed + n, stall))
            # Here one that has taken all its bytes takes no more, whatever is offered.
            ctx.set(dut.idle, 1)
            ctx.set(dut.kept.ready, 1)
            while not ctx.get(dut.reply.valid):
                await ctx.tick()
            ctx.set(dut.kept.ready, 0)

    async def space(ctx):
        for pause in stalls(seed + 99, stall):
            await ctx.tick()
            if pause or not ctx.get(dut.request.valid):
                continue
            request = ctx.get(dut.request.payload)
            if request["write"]:
                content[request["address"]] = request["data"]
                ctx.set(dut.request.ready, 1)
                await ctx.tick()
                ctx.set(dut.request.ready, 0)
            else:
                ctx.set(dut.word.valid, 1)
                ctx.set(dut.word.payload, content[request["address"]])
                taken = False
                while not taken:
                    _, _, taken = await ctx.tick().sample(dut.word.ready)
                ctx.set(dut.word.valid, 0)

    async def listener(ctx):
        replies.extend(await collect(ctx, dut.reply, 2 * len(asked), stalls(seed + 1, stall)))

    run(dut, host, player, listener, background=[space])
    assert bytes(replies) == b"".join(bytes([code, Status.OK]) for code, *_ in asked)
    assert [(move["streamed"], Sink(move["sink"]), move["unit"], move["units"])
            for move in moves] == [
        (int(code == Code.KEEP), Sink.MEMORY if code == Code.KEEP else Sink.DIGEST, unit, units)
        for code, unit, units, *_ in asked]
    assert found == expected
    assert content == words


@pytest.mark.parametrize("unit, units, address, words, status", [
    (60, 5, 0, 4, Status.OUT_OF_RANGE), (64, 1, 0, 4, Status.OUT_OF_RANGE),
    (0xFFFF_FFFF, 1, 0, 1, Status.OUT_OF_RANGE), (0, 65, 0, 1, Status.OUT_OF_RANGE),
    (63, 1, 60, 5, Status.OUT_OF_RANGE), (64, 0, 64, 0, Status.OK)])
def test_units_and_words_are_judged(unit, units, address, words, status):
    dut = Access(beat_bytes=4, memory_units=64, space_words={Space.STATE: 64})
    replies, moved = [], []

    async def host(ctx):
        for member in (dut.idle, dut.move.ready, dut.kept.ready):
            ctx.set(member, 1)
        access = {"space": Space.STATE, "address": address, "words": words}
        transfer = {"unit": unit, "units": units, **access}
        ctx.set(dut.keep.payload, transfer)
        ctx.set(dut.read.payload, access)
        for command in (dut.keep, dut.recall):
            await feed(ctx, command, [transfer], NEVER)

    async def player(ctx):
        async for _, _, moves in ctx.tick().sample(dut.move.valid):
            moved.append(moves)

    async def listener(ctx):
        replies.extend(await collect(ctx, dut.reply, 4, NEVER))

    run(dut, host, listener, background=[player])
    assert replies == [Code.KEEP, status, Code.RECALL, status]
    assert any(moved) == (status == Status.OK)


def test_spaces_wait_for_the_end_of_a_pass():
    """No port is enabled before the accelerator is idle; then the word comes."""
    dut = Spaces(vector_elements=64, max_state=64, max_stages=4)
    port, write = dut.debug.state_read, dut.debug.state_write

    async def host(ctx):
        word = {"address": 5, "data": 0, "space": Space.STATE, "write": 0}
        await feed(ctx, dut.request, [{**word, "write": 1, "data": 9}, word], NEVER)

    async def accelerator(ctx):
        for enable, idle in ((write.en, 20), (port.en, 30)):
            ctx.set(dut.debug.idle, 0)
            for _ in range(idle):
                _, _, early = await ctx.tick().sample(Cat(port.en, write.en))
                assert not early
            ctx.set(dut.debug.idle, 1)
            enabled = False
            while not enabled:
                _, _, enabled = await ctx.tick().sample(enable)
        ctx.set(port.data, -7)
        await ctx.tick()
        ctx.set(port.data, 0)
        assert await collect(ctx, dut.word, 1, NEVER) == [0xFFFF_FFF9]

    run(dut, host, accelerator)


def test_counters_are_of_frames_and_then_of_beats():
    dut = Spaces(vector_elements=64, max_state=64, max_stages=4)
    frames, beats = [7, 8, 9, 10], 0x12_3456_89AB_CDEF

    async def host(ctx):
        ctx.set(dut.debug.idle, 1)
        ctx.set(dut.beats, beats)
        await feed(ctx, dut.request, [
            {"address": n, "data": 0, "space": Space.COUNTERS, "write": 0} for n in range(6)],
            NEVER)

    async def link(ctx):
        async for _, _, asked, place in ctx.tick().sample(dut.counters.en, dut.counters.addr):
            ctx.set(dut.counters.data, frames[place] if asked else 0)

    async def listener(ctx):
        assert await collect(ctx, dut.word, 6, stalls(1, 0.5)) == [
            *frames, beats & 0xFFFF_FFFF, beats >> 32]

    run(dut, host, listener, background=[link])


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
                if member.flow is In:
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
    (lambda: Gearbox(2), ["o"]),
    (lambda: Fetcher(beat_bytes=1, memory_beats=64), ["request"]),  # whenever it is abandoned
], ids=["gearbox", "fetcher"])
def test_offers_stand(make, held, tmp_path):
    prove(Contract(make(), held), tmp_path)
