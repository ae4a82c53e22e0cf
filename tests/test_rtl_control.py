"""All but the accelerator: the real driver talks to the gateware in Amaranth's simulator."""

import contextlib
import dataclasses
import itertools
import random
import zlib

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tritstream.analysis.swap import KEEP_CYCLES, RECALL_CYCLES
from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.errors import DeviceError
from tritstream.flash import FRAME_BYTES, Stored, stored
from tritstream.formats import UNIT
from tritstream.link.frames import MAX_FRAME
from tritstream.link.messages import (
    RECORD_WORDS,
    Access,
    Configuration,
    Counters,
    Extent,
    Identity,
    Lane,
    Run,
    Transfer,
    read_answer,
)
from tritstream.link.protocol import NO_STOP, Code, LaneFlag, RunFlag, Space, Status
from tritstream_hw.boards.device import BareDevice
from tritstream_hw.flash.reader import FlashSignature, cycles_per_byte
from tritstream_hw.memory.access import AccessSignature
from tritstream_hw.memory.block import BlockMemory
from tritstream_hw.memory.ddr3.crossing import RegistersCrossing
from tritstream_hw.memory.port import MemorySignature
from tritstream_sim.twin.fake_accelerator import STALLS_SHIFT, FakeAccelerator, predict
from tritstream_sim.verilate.stepped import Bench, SteppedTransport, build_stepped

VOCAB = 8
CONFIG = BuildConfig(beat_bytes=8, max_hidden=64, max_intermediate=64, max_vocab=VOCAB,
                     max_state=64, max_stages=8, memory_bytes=2048, candidates=3,
                     ack_cycles=500, retry_cycles=5_000)
NO_MEMORY = dataclasses.replace(CONFIG, memory_bytes=0)
NARROW = dataclasses.replace(CONFIG, beat_bytes=4, vector_width=4)
WITH_REGISTERS = dataclasses.replace(NARROW, memory_registers=4)
LANES = dataclasses.replace(CONFIG, lanes=3)
WITH_FLASH = dataclasses.replace(NARROW, flash_offset=1)
DAMAGED_FLASH = dataclasses.replace(NARROW, flash_offset=2)
CONFIGS = [CONFIG, NO_MEMORY, NARROW, WITH_REGISTERS, LANES, WITH_FLASH, DAMAGED_FLASH]
STORED = random.Random(17).randbytes(20 * UNIT)

pytestmark = pytest.mark.verilator


class RegisteredMemory(wiring.Component):
    """Block RAM with registers, which are in a clock of their own, of the same edges."""

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({"bus": In(MemorySignature(config.beat_bytes)),
                          "access": In(AccessSignature()), "abandon": In(1)})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.memory = memory = BlockMemory(
            beat_bytes=config.beat_bytes, beats=config.memory_bytes // config.beat_bytes)
        m.submodules.crossing = crossing = RegistersCrossing(memory_domain="sync")
        wiring.connect(m, wiring.flipped(self.bus), memory.bus)
        wiring.connect(m, wiring.flipped(self.access), crossing.access)
        m.d.comb += crossing.abandon.eq(self.abandon)
        bus, words = crossing.registers, Array(Signal(32) for _ in range(config.memory_registers))
        m.d.sync += bus.o.eq(words[bus.address])
        with m.If(bus.write):
            m.d.sync += words[bus.address].eq(bus.i)
        return m


class FlashMemory(wiring.Component):
    """A flash memory that is read from its first byte on, whatever the command."""

    def __init__(self, content: bytes):
        self._bits = [byte >> 7 - n & 1 for byte in content for n in range(8)]
        super().__init__({"pads": In(FlashSignature())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cells = cells = Memory(shape=1, depth=len(self._bits), init=self._bits)
        read, before = cells.read_port(), Signal()
        rises = Signal(range(40 + len(self._bits)))     # of the clock: 40 are the command's
        m.d.sync += before.eq(self.pads.clock)
        m.d.comb += [read.addr.eq(rises - 40), self.pads.i.eq(read.data)]
        with m.If(~self.pads.select):
            m.d.sync += rises.eq(0)
        with m.Elif(self.pads.clock & ~before):
            m.d.sync += rises.eq(rises + 1)
        return m


class FlashDevice(wiring.Component):
    """A device that starts from a flash memory."""

    def __init__(self, device: BareDevice, content: bytes):
        self._device, self._flash = device, FlashMemory(content)
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.device, m.submodules.flash = device, flash = self._device, self._flash
        wiring.connect(m, wiring.flipped(self.rx), device.rx)
        wiring.connect(m, device.tx, wiring.flipped(self.tx))
        wiring.connect(m, device.flash, flash.pads)
        return m


@dataclasses.dataclass
class Image:
    """What the driver wants of an image; the content steers `FakeAccelerator`."""

    payload: bytes
    stop_token: int | None = None
    hidden: int = 64
    intermediate: int = 64
    layers: int = 1
    vocab: int = VOCAB
    rows_unit: int = 5
    row_units: int = 2
    tape_unit: int = 1
    lead_units: int = 1
    tape_units: int = 4
    stages: int = 6
    body_units: int = 3
    body_stages: int = 5

    @classmethod
    def random(cls, seed: int, *, head: bool = True, bad: bool = False, candidates: int = 3,
               beats: int = 48, pace: int = 0, **changes):
        content = bytearray(random.Random(seed).randbytes(21 * UNIT))
        content[UNIT:UNIT + 4] = beats, head | bad << 1, candidates, pace
        return cls(bytes(content), **changes)

    @classmethod
    def together(cls, seed: int, tokens: int, **changes):
        """One whose pass of so many tokens has its length."""
        return cls.random(seed, beats=32 + 16 * tokens, **changes)

    def tape(self, units: int) -> bytes:
        return self.payload[self.tape_unit * UNIT:][:units * UNIT]

    def row(self, token: int) -> bytes:
        start = (self.rows_unit + token * self.row_units) * UNIT
        return self.payload[start:start + self.row_units * UNIT]

    def played(self, *tokens: int) -> bytes:
        tape, lead = self.tape(self.tape_units), self.lead_units * UNIT
        return tape[:lead] + b"".join(map(self.row, tokens)) + tape[lead:]


@pytest.fixture(scope="module")
def executable(request):
    """All devices in one executable."""
    devices = [BareDevice(config, config.digest(), FakeAccelerator(config, vocab=VOCAB),
                          RegisteredMemory(config) if config.memory_registers else None)
               for config in CONFIGS]
    good = stored(STORED, NARROW.stripes)
    for config, content in ((WITH_FLASH, good), (DAMAGED_FLASH, good[:-1] + b"?")):
        number = CONFIGS.index(config)
        devices[number] = FlashDevice(devices[number], content)
    return build_stepped(Bench(devices), "control", request.config.rootpath / "build" / "sim")


@pytest.fixture
def connect(executable, seed):
    """Open the driver on the device that was built from a configuration."""
    with contextlib.ExitStack() as stack:
        def open_device(config=CONFIG, *, stall=0):
            transport = SteppedTransport(executable, CONFIGS.index(config), stall=stall, seed=seed)
            stack.callback(transport.close)
            return Device(transport, dead_seconds=1e9, patience_seconds=1e9)
        yield open_device


def expected(image, token, count, *, streamed=False):
    """Passes of a greedy run, and the digest after each."""
    digest = 0
    for n in range(count):
        answer = predict(CONFIG, image.played(token), VOCAB)
        digest = (digest + answer.total) & 0xFFFF_FFFF
        last = n == count - 1 or answer.candidates[0][0] == image.stop_token
        yield token, answer, digest, last or streamed       # then every pass is a run
        if last:
            return
        token = answer.candidates[0][0]


def check(results, predictions, candidates=1):
    for result, (token, answer, digest, last) in itertools.zip_longest(results, predictions):
        assert result.token == token
        assert result.candidates == answer.candidates[:candidates]
        assert result.mantissa == answer.total & 0xFFFF
        assert result.shift == 17
        assert result.digest == digest
        assert result.last == last
        assert result.stalls == 6 << STALLS_SHIFT   # the fake shows the stages here


def command(device, code, arguments=b"", data=b"", *, reply):
    """Send a command as bytes, past the checks of the driver."""
    stream = device._stream
    stream.write(bytes([code]) + arguments + data)
    return stream.read(reply)


def test_identify(connect):
    device = connect()
    assert device.identity == Identity.of(CONFIG)


@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=lambda c: f"P={c.beat_bytes}")
def test_upload_is_read_back(connect, config):
    device = connect(config)
    content = random.Random(2).randbytes(2048)
    assert device.upload(content) == 2048
    assert device.upload(content) == 0              # it is there already
    for unit, units in ((0, 0), (3, 1), (31, 1), (7, 20)):
        reply = command(device, Code.DIGEST, Extent(unit=unit, units=units).pack(), reply=6)
        crc = zlib.crc32(content[unit * UNIT:(unit + units) * UNIT])
        assert reply == bytes([Code.DIGEST, Status.OK]) + crc.to_bytes(4, "little")


@pytest.mark.parametrize("config", [CONFIG, LANES], ids=["a lane", "lanes"])
def test_greedy_run_goes_on_alone(connect, config):
    device = connect(config)
    image = Image.random(3)
    device.load(image)
    for candidates in (1, 3, 1):
        check(device.run([5], 6, fresh=True, candidates=candidates > 1), expected(image, 5, 6),
              candidates)


def expected_together(image, tokens, count):
    """What each lane gives in the passes of a run of several."""
    for n in range(count):
        answers = [predict(LANES, image.played(*tokens), VOCAB, lane)
                   for lane in range(len(tokens))]
        chosen = [answer.candidates[0][0] for answer in answers]
        last = n == count - 1 or image.stop_token in chosen
        yield tokens, answers, last
        if last:
            return
        tokens = chosen


@pytest.mark.parametrize("stall", [0, 30])
@pytest.mark.parametrize("candidates", [1, 3])
def test_several_greedy_runs_go_on_together(connect, candidates, stall):
    """One answer for each pass, until one of them finds the stop token, with one command."""
    device = connect(LANES, stall=stall)
    for tokens in [5], [1, 6], [2, 7, 0]:
        image = Image.together(5, len(tokens))
        passes = list(expected_together(image, tokens, 6))
        assert len(passes) == 6
        for image.stop_token in (None, passes[3][1][-1].candidates[0][0]):
            device.load(image)
            lanes = [Lane(slot=n, token=token, flags=LaneFlag.FRESH)
                     for n, token in enumerate(tokens)]
            found = device.run_together(lanes, 6, candidates=candidates > 1)
            for results, (fed, answers, last) in itertools.zip_longest(
                    found, expected_together(image, tokens, 6)):
                assert [result.token for result in results] == fed
                assert {result.last for result in results} == {last}
                assert [result.candidates for result in results] == [
                    answer.candidates[:candidates] for answer in answers]
                assert [result.digest for result in results] == [
                    answer.total for answer in answers]
                assert [result.stalls >> STALLS_SHIFT for result in results] == [
                    6, *[0] * (len(tokens) - 1)]


@pytest.mark.parametrize("stall", [0, 30])
def test_a_command_that_waits_ends_a_run(connect, stall):
    """Behind the pass that is under way, which is told; what comes next goes on from there."""
    for config, tokens in (CONFIG, [5]), (LANES, [2, 7, 0]):
        device = connect(config, stall=stall)
        image = Image.together(5, len(tokens), pace=60)     # longer than the way of a command
        device.load(image)
        device._configure()
        lanes = [Lane(slot=n, token=token) for n, token in enumerate(tokens)]
        run = Run(token=5, count=9, lanes=len(lanes), tape_units=4, stages=6)
        follows = b"".join(lane.pack() for lane in lanes) if config is LANES else b""
        follows += bytes([Code.IDENTIFY])
        assert command(device, Code.RUN, run.pack(), follows, reply=2)[1] == Status.OK
        assert read_answer(device._stream.read, tokens)[0].last
        assert device._stream.read(1)[0] == Code.IDENTIFY
        assert Identity.unpack(device._stream.read(Identity.SIZE)) == device.identity
        for taken in 1, 2, 4:
            seen = []

            def enough(seen=seen, taken=taken):
                return len(seen) >= taken

            passes = (device.run([5], 40, fresh=True, enough=enough) if config is CONFIG
                      else device.run_together(lanes, 40, enough=enough))
            for results in passes:
                seen.append(results)
            print(f"{len(lanes)} lanes, {taken} passes are enough: {len(seen)}")
            assert taken <= len(seen) <= taken + 1
            if config is CONFIG:
                wanted = [answer.candidates[:1] for _, answer, *_ in expected(image, 5, len(seen))]
                assert [result.candidates for result in seen] == wanted
                assert [result.last for result in seen] == [False] * (len(seen) - 1) + [True]
            else:
                for results, (fed, answers, last) in zip(
                        seen, expected_together(image, tokens, len(seen)), strict=True):
                    assert [result.token for result in results] == fed
                    assert [result.digest for result in results] == [a.total for a in answers]
                    assert {result.last for result in results} == {last}
        assert device.identify() == Identity.of(config)


@pytest.mark.parametrize("stall", [0, 30])
def test_a_token_needs_few_bytes_of_the_link(connect, stall):
    """Of a greedy run, acknowledgements and what the host sends included: each answer a frame."""
    for config, tokens in (CONFIG, [5]), (LANES, [2, 7, 0]):
        device = connect(config, stall=stall)
        device.load(Image.together(5, len(tokens)))
        transport, count = device._stream.transport, 40
        read, written = watch(transport, "read"), watch(transport, "write")
        lanes = [Lane(slot=n, token=token) for n, token in enumerate(tokens)]
        passes = device.run([5], count) if config is CONFIG else device.run_together(lanes, count)
        assert len(list(passes)) == count
        made = count * len(tokens)
        print(f"{len(tokens)} lanes: {sum(read) / made:.1f} bytes a token to the host, "
              f"{sum(written) / made:.1f} from it")
        assert sum(read) + sum(written) <= 60 * made


def watch(transport, name) -> list[int]:
    """Note how many bytes each call of a method carries."""
    sizes, method = [], getattr(transport, name)

    def watched(argument):
        data = method(argument)
        sizes.append(len(argument if name == "write" else data))
        return data

    setattr(transport, name, watched)
    return sizes


@pytest.mark.parametrize("flag", [LaneFlag.BODY, LaneFlag.FOLLOWS])
def test_what_does_not_choose_its_next_token_ends_a_run(connect, flag):
    device = connect(LANES)
    image = Image.together(4, 2)
    device.load(image)
    device._configure()
    tokens = [1, 2]
    for flags in ([LaneFlag(0), flag], [LaneFlag.BODY, flag]):
        lanes = b"".join(Lane(token=token, flags=one).pack()
                         for token, one in zip(tokens, flags, strict=True))
        run = Run(token=9, count=5, lanes=2, tape_units=4, stages=6)
        assert command(device, Code.RUN, run.pack(), lanes, reply=2) == bytes([Code.RUN, Status.OK])
        results = read_answer(device._stream.read, tokens)
        for lane, (result, one) in enumerate(zip(results, flags, strict=True)):
            answer = predict(LANES, image.played(*tokens), VOCAB, lane)
            assert result.last and result.digest == answer.total
            assert result.candidates == (() if LaneFlag.BODY in one else answer.candidates[:1])
    assert device.identify() == Identity.of(LANES)      # and nothing else has come


def test_runs_of_several_that_are_refused(connect):
    """The lanes of each are taken, and the next command is carried out."""
    device = connect(LANES)
    device.load(Image.together(4, 3))
    device._configure()
    good = [Lane(token=1), Lane(token=2, slot=1), Lane(token=3, slot=2)]
    for place, changes, run, status in (
        (0, {}, {}, Status.OK),
        (1, {"slot": 3}, {}, Status.OUT_OF_RANGE),
        (2, {"slot": 255}, {}, Status.OUT_OF_RANGE),
        (0, {"flags": LaneFlag.FOLLOWS}, {}, Status.OUT_OF_RANGE),
        (0, {"token": VOCAB}, {}, Status.BAD_TOKEN),
        (2, {"token": 1 << 31}, {}, Status.BAD_TOKEN),
        (0, {}, {"count": 0}, Status.OUT_OF_RANGE),
        (0, {}, {"tape_units": 32}, Status.OUT_OF_RANGE),
        (0, {}, {}, Status.OK),
    ):
        lanes = [dataclasses.replace(lane, **changes if n == place else {})
                 for n, lane in enumerate(good)]
        run = Run(**{"token": 0, "lanes": 3, "tape_units": 4, "stages": 6, **run})
        data = b"".join(lane.pack() for lane in lanes)
        reply = command(device, Code.RUN, run.pack(), data, reply=2)
        assert reply == bytes([Code.RUN, status])
        if status == Status.OK:
            read_answer(device._stream.read, [1, 2, 3])
    assert device.identify() == Identity.of(LANES)


def test_more_tokens_than_lanes_silence_the_device_until_reset(connect):
    device = connect(LANES)
    image = Image.together(4, 1)
    device.load(image)
    device._configure()
    run = Run(token=1, lanes=4, tape_units=4, stages=6)
    assert command(device, Code.RUN, run.pack(), reply=2) == bytes([Code.RUN, Status.OUT_OF_RANGE])
    device._stream.write(bytes([Code.IDENTIFY]) * 600)
    device._stream.flush()
    for _ in range(40):
        assert device._stream.poll() == 0
    device.stop()
    assert device.identify() == Identity.of(LANES)
    found = list(device.run_together([Lane(token=1)], 2))
    assert [result.token for (result,) in found] == [
        token for (token,), _, _ in expected_together(image, [1], 2)]


def test_a_later_token_that_is_not_in_the_vocabulary_is_refused(connect):
    """As the first: what a head chose is checked before it has a row."""
    for config, lanes in (CONFIG, 0), (LANES, 2):
        device = connect(config)
        image = Image.together(4, max(1, lanes))
        device.load(image)
        outside = expected_vocabulary(image, lanes)
        where = Configuration(rows_unit=5, tape_unit=1, lead_units=1, row_units=2, vocab=outside,
                              stop_token=NO_STOP)
        assert command(device, Code.CONFIGURE, where.pack(), reply=2)[1] == Status.OK
        run = Run(token=0, count=9, lanes=lanes, tape_units=4, stages=6)
        table = b"".join(Lane(token=0, slot=n).pack() for n in range(lanes))
        assert command(device, Code.RUN, run.pack(), table, reply=2)[1] == Status.OK
        read_answer(device._stream.read, [0] * max(1, lanes))
        assert device._stream.read(2) == bytes([Code.RUN, Status.BAD_TOKEN])
        assert device.identify() == Identity.of(config)


def expected_vocabulary(image, lanes):
    """A vocabulary that the token chosen behind token 0, in the last lane, is not in."""
    tokens = [0] * max(1, lanes)
    answer = predict(LANES, image.played(*tokens), VOCAB, len(tokens) - 1)
    chosen = answer.candidates[0][0]
    assert chosen > 0
    return chosen


def test_the_stop_token_ends_a_run(connect):
    image = Image.random(4)
    image.stop_token = list(expected(image, 1, 3))[2][1].candidates[0][0]
    passes = list(expected(image, 1, 9))
    device = connect()
    device.load(image)
    check(device.run([1], 9, fresh=True), passes)
    assert len(passes) <= 3


def test_as_many_candidates_as_there_are(connect):
    device = connect()
    for candidates in 0, 1, 2, 9:
        image = Image.random(5, candidates=candidates)
        device.load(image, streamed=True)
        for flag, most in (RunFlag(0), 1), (RunFlag.CANDIDATES, CONFIG.candidates):
            result = _one_pass(device, image, flag)
            assert result.last
            assert len(result.candidates) == min(candidates, most)


def _one_pass(device, image, flag):
    """Stream one pass as bytes; return what it gave."""
    device._configure()
    run = Run(token=2, flags=RunFlag.STREAMED | flag, tape_units=image.tape_units,
              stages=image.stages)
    reply = command(device, Code.RUN, run.pack(), image.played(2), reply=2)
    assert reply == bytes([Code.RUN, Status.OK])
    (result,) = read_answer(device._stream.read, [2])
    return result


def test_a_run_without_a_head_ends(connect):
    device = connect()
    image = Image.random(6, head=False)
    device.load(image)
    device._configure()
    run = Run(token=2, count=9, tape_units=image.tape_units, stages=image.stages)
    assert command(device, Code.RUN, run.pack(), reply=2) == bytes([Code.RUN, Status.OK])
    (result,) = read_answer(device._stream.read, [2])
    assert result.last and not result.candidates
    assert device.identify() == Identity.of(CONFIG)     # and nothing else has come


@pytest.mark.parametrize("config", [CONFIG, NO_MEMORY], ids=["memory", "no memory"])
def test_streamed_weights(connect, config):
    device = connect(config)
    image = Image.random(7, pace=3)
    device.load(image, streamed=True)
    check(device.run([5], 4, fresh=True), expected(image, 5, 4, streamed=True))


@pytest.mark.parametrize("beats", [5, 47, 49, 200], ids=["far fewer", "fewer", "more", "many more"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_pass_of_another_length_is_refused_and_the_next_one_works(connect, streamed, beats):
    """Nobody has to start the device anew: what was left is dropped, what was missing is not."""
    device = connect()
    flags = RunFlag.STREAMED | RunFlag.FRESH if streamed else RunFlag.FRESH
    for image, status in ((Image.random(8, beats=beats), Status.BAD_TAPE),
                          (Image.random(8), Status.OK)) * 2:
        if not streamed:
            device.upload(image.payload)
        device.load(image, streamed=streamed)
        device._configure()
        run = Run(token=1, flags=flags, tape_units=image.tape_units, stages=image.stages)
        data = image.played(1) if streamed else b""
        reply = command(device, Code.RUN, run.pack(), data, reply=2)
        assert reply == bytes([Code.RUN, status])
        if status == Status.OK:
            (result,) = read_answer(device._stream.read, [1])
            assert result.digest == predict(CONFIG, image.played(1), VOCAB).total


@pytest.mark.parametrize("streamed", [False, True])
def test_logits_come_before_their_pass(connect, streamed):
    device = connect()
    image = Image.random(9)
    device.load(image, streamed=streamed)
    predictions = list(expected(image, 1, 2, streamed=streamed))
    for result, (_, answer, _, _) in zip(device.run([1], 2, fresh=True, logits=True), predictions,
                                   strict=True):
        assert tuple(result.logits) == answer.logits


@pytest.mark.parametrize("streamed", [False, True])
def test_bad_tape_ends_a_run_and_leaves_the_device_ready(connect, streamed):
    device = connect()
    device.load(Image.random(10, bad=True), streamed=streamed)
    with pytest.raises(DeviceError, match="the tape does not make sense"):
        list(device.run([1], 3))
    image = Image.random(3)
    device.load(image, streamed=streamed)
    check(device.run([5], 2, fresh=True), expected(image, 5, 2, streamed=streamed))


def test_runs_that_are_refused(connect):
    device = connect()
    device.load(Image.random(11))
    device._configure()
    for changes, status in (
        ({"token": VOCAB}, Status.BAD_TOKEN),
        ({"token": 1 << 31}, Status.BAD_TOKEN),
        ({"count": 0}, Status.OUT_OF_RANGE),
        ({"stages": 0}, Status.OUT_OF_RANGE),
        ({"stages": 9}, Status.OUT_OF_RANGE),
        ({"tape_units": 0}, Status.OUT_OF_RANGE),
        ({"tape_units": 32}, Status.OUT_OF_RANGE),
        ({"tape_units": 0xFFFF_FFFF}, Status.OUT_OF_RANGE),
    ):
        run = Run(**{"token": 1, "tape_units": 4, "stages": 6, **changes})
        assert command(device, Code.RUN, run.pack(), reply=2) == bytes([Code.RUN, status])
    assert device.identify() == Identity.of(CONFIG)


def test_a_row_beyond_the_memory_is_refused(connect):
    device = connect()
    image = Image.random(11)
    device.load(image)
    where = Configuration(rows_unit=28, tape_unit=1, lead_units=1, row_units=2, vocab=VOCAB,
                          stop_token=NO_STOP)
    assert command(device, Code.CONFIGURE, where.pack(), reply=2) == bytes([Code.CONFIGURE, 0])
    for token, status in ((1, Status.OK), (2, Status.OUT_OF_RANGE)):
        run = Run(token=token, tape_units=4, stages=6)
        assert command(device, Code.RUN, run.pack(), reply=2)[1] == status
        if status == Status.OK:
            read_answer(device._stream.read, [token])


def test_a_refused_streamed_pass_is_consumed(connect):
    device = connect()
    image = Image.random(12)
    device.load(image, streamed=True)
    device._configure()
    run = Run(token=1, flags=RunFlag.STREAMED, tape_units=4, stages=0)
    reply = command(device, Code.RUN, run.pack(), image.played(1), reply=2)
    assert reply == bytes([Code.RUN, Status.OUT_OF_RANGE])
    check(device.run([5], 2, fresh=True), expected(image, 5, 2, streamed=True))


def test_too_large_a_vocabulary_is_refused(connect):
    """And changes nothing: a token that the vocabulary before does not have has no row."""
    device = connect()
    device.load(Image.random(11))
    device._configure()
    where = Configuration(rows_unit=0, tape_unit=0, lead_units=1, row_units=1, vocab=VOCAB + 1,
                          stop_token=NO_STOP)
    reply = command(device, Code.CONFIGURE, where.pack(), reply=2)
    assert reply == bytes([Code.CONFIGURE, Status.OUT_OF_RANGE])
    run = Run(token=VOCAB, tape_units=4, stages=6)
    assert command(device, Code.RUN, run.pack(), reply=2) == bytes([Code.RUN, Status.BAD_TOKEN])


@pytest.mark.parametrize("config, unit, units, status", [
    (CONFIG, 31, 2, Status.OUT_OF_RANGE),
    (CONFIG, 0xFFFF_FFFF, 1, Status.OUT_OF_RANGE),
    (NO_MEMORY, 0, 1, Status.NO_MEMORY),
])
def test_extents_beyond_the_memory(connect, config, unit, units, status):
    device = connect(config)
    arguments = Extent(unit=unit, units=units).pack()
    reply = command(device, Code.WRITE, arguments, bytes(units * UNIT), reply=2)
    assert reply == bytes([Code.WRITE, status])
    reply = command(device, Code.DIGEST, arguments, reply=6)
    assert reply == bytes([Code.DIGEST, status]) + bytes(4)


def test_spaces(connect):
    device = connect()
    assert device.read(Space.VECTORS, 3, 4).tolist() == [3, 4, 5, 6]
    device.store(Space.STATE, 5, np.array([-1, 7]))
    assert device.read(Space.STATE, 4, 4).tolist() == [4, -1, 7, 7]
    assert device.read(Space.RECORDS, 31, 1).tolist() == [31]
    for space, words in ((Space.VECTORS, CONFIG.vector_elements), (Space.STATE, CONFIG.max_state),
                         (Space.RECORDS, RECORD_WORDS * CONFIG.max_stages),
                         (Space.COUNTERS, Counters.SIZE // 4)):
        device.read(space, words - 1, 1)
        for address, count in ((words, 1), (0, words + 1), (0xFFFF_FFFF, 1), (1 << 31, 1),
                               (0, 1 << 31)):
            where = Access(space=space, address=address, words=count)
            reply = command(device, Code.READ, where.pack(), reply=2)
            assert reply == bytes([Code.READ, Status.OUT_OF_RANGE])
    for code, space in ((Code.READ, 4), (Code.STORE, 4), (Code.STORE, 2), (Code.STORE, 3)):
        data = bytes(8) if code == Code.STORE else b""
        reply = command(device, code, Access(space=space, address=0, words=2).pack(), data, reply=2)
        assert reply == bytes([code, Status.UNKNOWN_SPACE])
    assert device.read(Space.RECORDS, 0, 2).tolist() == [0, 1]


def test_registers_of_the_memory(connect):
    device = connect(WITH_REGISTERS)
    assert device.identity.memory_registers == 4
    device.store(Space.REGISTERS, 1, np.array([-3, 7]))
    assert device.read(Space.REGISTERS, 0, 4).tolist() == [0, -3, 7, 0]
    where = Access(space=Space.REGISTERS, address=3, words=2)
    reply = command(device, Code.READ, where.pack(), reply=2)
    assert reply == bytes([Code.READ, Status.OUT_OF_RANGE])
    assert device.read(Space.REGISTERS, 1, 1).tolist() == [-3]


@pytest.mark.parametrize("stall", [0, 30])
def test_a_device_starts_from_its_flash_memory(connect, stall):
    """The host comes in the middle of that: it begins again, and the host waits for its end."""
    device = connect(WITH_FLASH, stall=stall)
    assert device.stored() == Stored.LOADED
    assert device._stream.transport.cycles > (
        MAX_FRAME + (len(STORED) + FRAME_BYTES) * cycles_per_byte(CONFIG.clock_hz))
    assert device.upload(STORED) == 0
    content = random.Random(18).randbytes(3 * UNIT)
    device.write_memory(0, content)
    device.stop()                                       # which begins nothing again
    assert device.memory_crc(0, 4 * UNIT) == zlib.crc32(content + STORED[3 * UNIT:4 * UNIT])
    assert device.read(Space.FLASH, 0, 1).tolist() == [Stored.LOADED]


def test_a_device_whose_flash_memory_is_damaged_takes_an_upload(connect):
    device = connect(DAMAGED_FLASH)
    assert device.stored() == Stored.DAMAGED
    content = random.Random(19).randbytes(5 * UNIT)
    assert device.upload(content) == len(content)
    assert device.upload(content) == 0


def test_a_device_that_looks_at_no_flash_memory_says_so(connect):
    assert connect().stored() is None


@pytest.mark.parametrize("words", [2, CONFIG.max_state + 1])
def test_a_refused_store_writes_nothing(connect, words):
    """Its data are taken all the same: the next command is understood."""
    device = connect()
    before = device.read(Space.STATE, 0, CONFIG.max_state).tolist()
    where = Access(space=Space.STATE, address=CONFIG.max_state - 1, words=words)
    reply = command(device, Code.STORE, where.pack(), bytes([255]) * (4 * words), reply=2)
    assert reply == bytes([Code.STORE, Status.OUT_OF_RANGE])
    assert device.read(Space.STATE, 0, CONFIG.max_state).tolist() == before


def test_commands_need_not_wait_for_replies(connect):
    device = connect()
    image = Image.random(14)
    where = Configuration(rows_unit=5, tape_unit=1, lead_units=1, row_units=2, vocab=VOCAB,
                          stop_token=NO_STOP)
    run = Run(token=3, flags=RunFlag.STREAMED, tape_units=4, stages=6)
    content = random.Random(15).randbytes(3 * UNIT)
    extent = Extent(unit=4, units=3).pack()
    words = Access(space=Space.VECTORS, address=8, words=2).pack()
    exchanges = [
        (Code.CONFIGURE, where.pack(), b"", bytes(1)),
        (Code.WRITE, extent, content, bytes(1)),
        (Code.DIGEST, extent, b"", bytes(1) + zlib.crc32(content).to_bytes(4, "little")),
        (Code.STORE, words, b"abcdefgh", bytes(1)),
        (Code.READ, words, b"", bytes(1) + b"abcdefgh"),
        (Code.IDENTIFY, b"", b"", Identity.of(CONFIG).pack()),
    ]
    stream = device._stream
    for _ in range(3):
        for code, arguments, data, _ in exchanges:
            stream.write(bytes([code]) + arguments + data)
        stream.write(bytes([Code.RUN]) + run.pack() + image.played(3))
    for _ in range(3):
        for code, _, _, reply in exchanges:
            assert stream.read(1 + len(reply)) == bytes([code]) + reply
        answer = predict(CONFIG, image.played(3), VOCAB)
        assert stream.read(2) == bytes([Code.RUN, Status.OK])
        (result,) = read_answer(stream.read, [3])
        assert result.last and result.candidates == answer.candidates[:1]
        assert result.mantissa == answer.total & 0xFFFF


def test_counters(connect):
    device = connect()
    image = Image.random(3)
    device.load(image)
    list(device.run([5], 2))
    counters = device.counters()
    assert counters.beats == 2 * 48
    assert counters.frames_good > 0
    assert counters.frames_bad == counters.frames_out_of_order == counters.frames_resent == 0


def test_unknown_code_silences_the_device_until_reset(connect):
    device = connect()
    assert command(device, 0x33, reply=1) == bytes([Code.UNKNOWN])
    device._stream.write(bytes([Code.IDENTIFY]) * 600)
    device._stream.flush()
    for _ in range(40):
        assert device._stream.poll() == 0
    device.stop()
    assert device.identify() == Identity.of(CONFIG)


@pytest.mark.parametrize("cycles", [0, 1, 2, 3, 50, 51, 52, 53, 6_000])
def test_reset_in_the_middle_of_replies(connect, cycles):
    """Nothing of a reply that is under way is left."""
    device = connect()
    device.load(Image.random(3))
    device._configure()
    commands = (
        (Code.READ, Access(space=Space.VECTORS, address=0, words=CONFIG.vector_elements).pack(), 8),
        (Code.RUN, Run(token=1, count=50, tape_units=4, stages=6).pack(), 1),
        (Code.DIGEST, Extent(unit=0, units=2).pack(), 40),
        (Code.IDENTIFY, b"", 60))
    for code, arguments, times in commands:
        device._stream.write((bytes([code]) + arguments) * times)
        device._stream.flush()
        device._stream.transport.idle(cycles)
        device.stop()
        assert device._stream.available == 0
        assert device.identify() == Identity.of(CONFIG)
        device._configure()


def unit_words(config: BuildConfig) -> int:
    return config.stripes.unit_bytes // 4


@pytest.mark.parametrize("config", [CONFIG, NARROW, LANES], ids=["P=8", "P=4", "lanes"])
@pytest.mark.parametrize("stall", [0, 30])
def test_words_are_kept_and_recalled(connect, config, stall, seed):
    """By commands that follow each other at once; what the host sends behind them is its own."""
    device = connect(config, stall=stall)
    rng, words = random.Random(seed), config.max_state
    memory = bytearray(rng.randbytes(config.memory_bytes))
    device.upload(bytes(memory))
    state = np.array([rng.randrange(-(1 << 23), 1 << 23) for _ in range(words)], "<i4")
    state[:2] = 0x7F_FFFF, -0x80_0000
    device.store(Space.STATE, 0, state)
    stream, each = device._stream, unit_words(config)
    for _ in range(12):
        code, units = rng.choice((Code.KEEP, Code.RECALL)), rng.randrange(0, 5)
        unit, address = rng.randrange(config.memory_units - units), rng.randrange(words)
        count = rng.randrange(words - address + 1)
        change = rng.randbytes(UNIT)
        where = Extent(unit=rng.randrange(config.memory_units), units=1)
        transfer = Transfer(unit=unit, units=units, space=Space.STATE, address=address,
                            words=count)
        stream.write(bytes([code]) + transfer.pack() + bytes([Code.WRITE]) + where.pack() + change)
        place, here = slice(unit * UNIT, (unit + units) * UNIT), min(count, units * each)
        if code == Code.KEEP:
            memory[place] = state[address:address + here].tobytes().ljust(units * UNIT, b"\0")
        else:
            found = np.frombuffer(bytes(memory[place]), "<i4", here)
            state[address:address + here] = found << 8 >> 8         # 24 bits
        memory[where.unit * UNIT:(where.unit + 1) * UNIT] = change
        assert stream.read(4) == bytes([code, Status.OK, Code.WRITE, Status.OK])
    assert device.memory_crc(0, len(memory)) == zlib.crc32(memory)
    stored = device.read(Space.STATE, 0, words)
    assert (stored << 8 >> 8).tolist() == state.tolist()


def test_transfers_that_are_refused(connect):
    """They change nothing; other spaces than that of states are kept, too."""
    device = connect(WITH_REGISTERS)        # whose memory nobody starts here
    content, everything = random.Random(4).randbytes(2048), Extent(unit=0, units=32).pack()
    assert command(device, Code.WRITE, everything, content, reply=2)[1] == Status.OK
    device.store(Space.REGISTERS, 0, np.array([1, -2, 3, -4]))
    before = device.read(Space.STATE, 0, CONFIG.max_state).tolist()
    good = dict(unit=1, units=2, space=Space.STATE, address=0, words=CONFIG.max_state)
    for change, kept, recalled in (
            (dict(units=32), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(unit=31), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(unit=0xFFFF_FFFF), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(units=0x8000_0001), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(address=1), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(words=CONFIG.max_state + 1), Status.OUT_OF_RANGE, Status.OUT_OF_RANGE),
            (dict(space=9), Status.UNKNOWN_SPACE, Status.UNKNOWN_SPACE),
            (dict(space=Space.COUNTERS, words=0, units=0), Status.OK, Status.UNKNOWN_SPACE),
            (dict(space=Space.RECORDS, unit=90), Status.OUT_OF_RANGE, Status.UNKNOWN_SPACE)):
        arguments = Transfer(**{**good, **change}).pack()
        for code, status in (Code.KEEP, kept), (Code.RECALL, recalled):
            assert command(device, code, arguments, reply=2) == bytes([code, status])
    reply = command(device, Code.DIGEST, everything, reply=6)
    assert int.from_bytes(reply[2:], "little") == zlib.crc32(content)
    assert device.read(Space.STATE, 0, CONFIG.max_state).tolist() == before
    registers = Transfer(unit=31, units=1, space=Space.REGISTERS, address=0, words=4).pack()
    assert command(device, Code.KEEP, registers, reply=2)[1] == Status.OK
    device.store(Space.REGISTERS, 0, np.zeros(4))
    assert command(device, Code.RECALL, registers, reply=2)[1] == Status.OK
    assert device.read(Space.REGISTERS, 0, 4).tolist() == [1, -2, 3, -4]


@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=["P=8", "P=4"])
def test_cycles_of_transfers(connect, config):
    """Of each word, as the documents have them."""
    device = connect(config)
    transport, words = device._stream.transport, config.max_state
    for code, cycles in (Code.KEEP, KEEP_CYCLES), (Code.RECALL, RECALL_CYCLES):
        taken = []
        for count in 0, words:
            transfer = Transfer(unit=0, units=0 if not count else 4, space=Space.STATE, address=0,
                                words=count)
            began = transport.cycles
            for _ in range(10):
                assert command(device, code, transfer.pack(), reply=2)[1] == Status.OK
            taken.append(transport.cycles - began)
        found = (taken[1] - taken[0]) / (10 * words)
        print(f"{code.name}: {found:.2f} cycles a word")
        assert cycles - 0.5 < found < cycles + 0.5


def test_a_device_without_memory_knows_no_transfers(connect):
    for code in Code.KEEP, Code.RECALL:
        device = connect(NO_MEMORY)
        transfer = Transfer(unit=0, units=0, space=Space.STATE, address=0, words=0)
        assert command(device, code, transfer.pack(), reply=1) == bytes([Code.UNKNOWN])
        device.stop()
        assert device.identify() == Identity.of(NO_MEMORY)


@pytest.mark.parametrize("cycles", [3, 60, 61, 62, 63, 64, 150, 800, 1_600])
def test_reset_in_the_middle_of_transfers(connect, cycles):
    """Nothing of one is left: no byte, no beat, no word of another is in the next."""
    device = connect(NARROW)
    state = np.arange(-32, 32) * 99_991
    device.store(Space.STATE, 0, state)
    device.upload(bytes(2048))
    whole = Transfer(unit=2, units=4, space=Space.STATE, address=0, words=64).pack()
    other = Transfer(unit=20, units=8, space=Space.VECTORS, address=1, words=63).pack()
    for code in Code.KEEP, Code.RECALL:
        device._stream.write((bytes([code]) + other) * 4)
        device._stream.flush()
        device._stream.transport.idle(cycles)
        device.stop()
        assert command(device, Code.KEEP, whole, reply=2) == bytes([Code.KEEP, Status.OK])
        assert device.memory_crc(2 * UNIT, 4 * UNIT) == zlib.crc32(state.astype("<i4").tobytes())
        device.store(Space.STATE, 0, np.zeros(64))
        assert command(device, Code.RECALL, whole, reply=2) == bytes([Code.RECALL, Status.OK])
        assert device.read(Space.STATE, 0, 64).tolist() == state.tolist()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("cycles", [100, 700, 1_500, 2_500])
def test_reset_in_the_middle_of_a_run(connect, streamed, cycles):
    device = connect()
    device.load(Image.random(3, pace=50), streamed=streamed)
    device._configure()
    device._send(Run(token=1, count=50, tape_units=4, stages=6))
    device._stream.transport.idle(cycles)
    device.stop()
    assert device._stream.available == 0
    image = Image.random(3)
    device.load(image, streamed=streamed)
    check(device.run([5], 2, fresh=True), expected(image, 5, 2, streamed=streamed))


