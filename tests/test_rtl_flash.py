"""What a board does with its flash memory when it starts: it reads, and speaks to the control.

The chip is a model, and so is the control.
"""

import random
import zlib

import pytest
from amaranth import *

from tritstream.flash import FRAME_BYTES, MAGIC, Stored, stored
from tritstream.formats import UNIT
from tritstream.link.messages import Extent
from tritstream.link.protocol import Code, Status
from tritstream.stripes import PLAIN
from tritstream_hw.flash.reader import FlashReader, clock_period, cycles_per_byte
from tritstream_hw.flash.starter import FlashStarter
from tritstream_sim.agents.pysim import collect, run, stalls

MEMORY_UNITS = 5
ADDRESS = 0x3_5A5A


# The reader.

class Chip:
    """A flash memory that takes FAST READ alone.

    Parameters
    ----------
    content : bytes
        From `ADDRESS` on.
    continuous : bool
        Whether it takes no command until it has been selected with ones.
    """

    def __init__(self, content: bytes, *, continuous: bool = False):
        self.content, self.continuous = content, continuous
        self.selected, self.clock, self.bits = 0, 0, []
        self.out = 0

    def see(self, select: int, clock: int, data: int) -> int:
        """Take the pins of a cycle; return the data that the chip shows."""
        if select and not self.selected:
            self.bits = []
        if self.selected and not select and len(self.bits) >= 16:
            self.continuous &= not all(self.bits)
        if select and clock and not self.clock:
            self.bits.append(data)
        if select and not clock and self.clock and len(self.bits) >= 40:
            self.out = self._data(len(self.bits) - 40)
        self.selected, self.clock = select, clock
        return self.out

    def _data(self, bit: int) -> int:
        if self.continuous:
            return bit & 1
        word = int("".join(map(str, self.bits[:32])), 2)
        assert word >> 24 == 0x0B
        place = (word & 0xFF_FFFF) - ADDRESS + bit // 8
        return self.content[place % len(self.content)] >> (7 - bit % 8) & 1


@pytest.mark.parametrize("share", [0, 0.7, 0.97])
@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("period", [2, 4])
def test_what_the_chip_holds_is_read_in_order(seed, share, continuous, period):
    content = random.Random(seed).randbytes(24)
    dut = FlashReader(address=ADDRESS, period=period)
    chip, found = Chip(content, continuous=continuous), []

    async def be_the_chip(ctx):
        """What it shows changes a cycle after the clock has fallen, just in time."""
        async for _, _, select, clock, data in ctx.tick().sample(
                dut.pads.select, dut.pads.clock, dut.pads.o):
            ctx.set(dut.pads.i, chip.see(select, clock, data))

    async def take(ctx):
        found.extend(await collect(ctx, dut.o, 40, stalls(seed, share)))
        assert chip.selected
        ctx.set(dut.stop, 1)
        for _ in range(3):
            await ctx.tick()
        assert not chip.selected

    run(dut, take, background=[be_the_chip])
    assert bytes(found) == (2 * content)[:40]


@pytest.mark.parametrize("clock_hz, period", [(80_000_000, 2), (80_000_001, 4), (100_000_000, 4)])
def test_a_byte_comes_every_eight_periods(clock_hz, period):
    """The memory's clock has 40 MHz at most."""
    dut, cycles = FlashReader(address=0, period=clock_period(clock_hz)), []

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        for cycle in range(1_000):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            if valid:
                cycles.append(cycle)

    run(dut, take)
    assert len(cycles) > 10
    assert {b - a for a, b in zip(cycles, cycles[1:], strict=False)} == {
        8 * period} == {cycles_per_byte(clock_hz)}


# Who speaks to the control.

class Board:
    """A `FlashStarter` between flash memory, host, and control, as far as that has a memory.

    Parameters
    ----------
    content : bytes
        Of the flash memory; behind it is what an erased one holds.
    share : float
        Of the cycles in which each stream pauses.
    flip : int or None
        Number of a bit that the memory does not keep.
    """

    def __init__(self, content: bytes, seed: int, *, share: float = 0, flip: int | None = None):
        self.content, self.share, self.flip = content, share, flip
        self.random, self.again = random.Random(seed), Signal()
        self.memory = bytearray(MEMORY_UNITS * UNIT)
        self.commands, self.read = [], 0
        self.inbox, self.outbox = bytearray(), bytearray()

    def start(self, *, resets: tuple[int, ...] = (), cycles: int = 20_000) -> Stored:
        """Simulate until it is done, with resets before; return what it has found."""
        async def live(ctx):
            flash = answers = 0
            for cycle in range(cycles):
                ctx.set(self.again, cycle in resets)
                flash, answers = flash or self._moves(), self.outbox and (answers or self._moves())
                ready = not self.outbox and self._moves()
                byte = self.content[self.read] if self.read < len(self.content) else 0xFF
                ctx.set(dut.bytes.valid, flash)
                ctx.set(dut.bytes.payload, byte if flash else self.random.randrange(256))
                ctx.set(dut.commands.ready, ready)
                ctx.set(dut.replies.valid, bool(answers))
                ctx.set(dut.replies.payload, self.outbox[0] if answers else 0)
                _, _, done, reads, valid, command, taken, i_ready, o_valid = await (
                    ctx.tick().sample(dut.done, dut.bytes.ready, dut.commands.valid,
                                      dut.commands.payload, dut.replies.ready, dut.i.ready,
                                      dut.o.valid))
                if done:
                    return
                assert not i_ready and not o_valid
                if cycle in resets:
                    self.read = flash = answers = 0
                    self.inbox.clear()
                    self.outbox.clear()
                    continue
                if flash and reads:
                    self.read, flash = self.read + 1, 0
                if answers and taken:
                    del self.outbox[0]
                    answers = 0
                if ready and valid:
                    self._hear(command)
            raise TimeoutError("it is never done")

        async def serve(ctx):
            await live(ctx)
            self.found = Stored(ctx.get(dut.found))
            await self._pass_on(ctx, dut)

        dut = FlashStarter(unit_bytes=UNIT, memory_units=MEMORY_UNITS)
        run(ResetInserter(self.again)(dut), serve, cycles=2 * cycles)
        return self.found

    def _moves(self) -> bool:
        return self.random.random() >= self.share

    def _hear(self, byte: int):
        """Take a byte of a command; carry that out when it is whole."""
        self.inbox.append(byte)
        if len(self.inbox) < 1 + Extent.SIZE:
            return
        code, extent = self.inbox[0], Extent.unpack(self.inbox[1:1 + Extent.SIZE])
        data, size = self.inbox[1 + Extent.SIZE:], extent.units * UNIT
        assert extent.unit == 0 and 0 < extent.units <= MEMORY_UNITS
        if code == Code.WRITE and len(data) < size:
            return
        self.commands.append((code, extent.units))
        self.outbox += bytes([code, Status.OK])
        if code == Code.WRITE:
            self.memory[:size] = data
            if self.flip is not None:
                self.memory[self.flip // 8] ^= 1 << self.flip % 8
        else:
            assert code == Code.DIGEST
            self.outbox += zlib.crc32(self.memory[:size]).to_bytes(4, "little")
        self.inbox.clear()

    async def _pass_on(self, ctx, dut):
        """See that the host has the control to itself now, and the flash memory its peace."""
        for _ in range(20):
            sides = (dut.i, dut.commands), (dut.replies, dut.o)
            for source, sink in sides:
                ctx.set(source.valid, self._moves())
                ctx.set(source.payload, self.random.randrange(256))
                ctx.set(sink.ready, self._moves())
            await ctx.delay(0)
            for source, sink in sides:
                for name in ("valid", "payload", "ready"):
                    assert ctx.get(getattr(source, name)) == ctx.get(getattr(sink, name))
            assert ctx.get(dut.done) and not ctx.get(dut.bytes.ready)
            await ctx.tick()


def payload_of(seed: int, units: int) -> bytes:
    return random.Random(seed).randbytes(units * UNIT)


@pytest.mark.parametrize("share", [0, 0.3, 0.8])
@pytest.mark.parametrize("units", [1, 3, MEMORY_UNITS])
def test_a_model_is_written_and_compared(seed, units, share):
    payload = payload_of(seed, units)
    board = Board(stored(payload, PLAIN), seed, share=share)
    assert board.start() == Stored.LOADED
    assert board.commands == [(Code.WRITE, units), (Code.DIGEST, units)]
    assert board.memory[:len(payload)] == payload
    assert board.read == len(payload) + FRAME_BYTES


@pytest.mark.parametrize("payload", [bytes(UNIT), b"\xff" * UNIT, MAGIC * (UNIT // 4)])
def test_extreme_contents(seed, payload):
    board = Board(stored(payload, PLAIN), seed)
    assert board.start() == Stored.LOADED
    assert board.memory[:UNIT] == payload


@pytest.mark.parametrize("content, found", [
    (b"", Stored.NOTHING),
    (bytes(64), Stored.NOTHING),
    (MAGIC[:3] + b"T" + bytes(60), Stored.NOTHING),
    (stored(b"", PLAIN), Stored.NOTHING),
    (MAGIC, Stored.TOO_LARGE),                      # its length is that of an erased one
    (MAGIC + (MEMORY_UNITS + 1).to_bytes(4, "little"), Stored.TOO_LARGE),
    (MAGIC + (1 << 31 | 1).to_bytes(4, "little"), Stored.TOO_LARGE),
], ids=["erased", "zeros", "other letters", "no units", "no length", "one unit more", "high bit"])
def test_what_is_no_model_leaves_the_memory_alone(seed, content, found):
    board = Board(content, seed)
    assert board.start() == found
    assert not board.commands


def test_every_flipped_bit_of_a_model_is_found(seed):
    """In the payload, in the CRC, and in the number of units."""
    whole, draw = stored(payload_of(seed, 2), PLAIN), random.Random(seed)
    bits = [*range(32, 64), *range(8 * (len(whole) - 4), 8 * len(whole)),
            *draw.sample(range(64, 8 * (len(whole) - 4)), 20)]
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        assert Board(bytes(content), seed).start() in {Stored.DAMAGED, Stored.TOO_LARGE,
                                                      Stored.NOTHING}


def test_a_memory_that_loses_a_bit_is_found(seed):
    draw = random.Random(seed)
    board = Board(stored(payload_of(seed, 2), PLAIN), seed, flip=draw.randrange(2 * 8 * UNIT))
    assert board.start() == Stored.DAMAGED


@pytest.mark.parametrize("units", [1, 2])
def test_a_reset_in_the_middle_begins_it_again(seed, units):
    draw, payload = random.Random(seed), payload_of(seed, units)
    for _ in range(12):
        resets = tuple(sorted(draw.sample(range(300), 3)))
        board = Board(stored(payload, PLAIN), seed, share=0.3)
        assert board.start(resets=resets) == Stored.LOADED
        assert board.memory[:len(payload)] == payload
        assert board.commands[-2:] == [(Code.WRITE, units), (Code.DIGEST, units)]
