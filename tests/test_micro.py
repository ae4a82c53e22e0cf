"""The micro machine's compiler, and its program on a machine that is simulated by instructions."""

import dataclasses
import random

import numpy as np
import pytest

from tritstream.analysis.micro import estimate_micro_stage
from tritstream.analysis.stage import Limit
from tritstream.cli.estimate import image_estimate
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import BadInput, DeviceError
from tritstream.formats import FORMATS, UNIT
from tritstream.golden.elementwise import dequantise, glu, mlgru, sigmoid
from tritstream.golden.model import candidates
from tritstream.golden.quantise import quantise, statistics
from tritstream.golden.scalars import Statistics, dequantiser, reciprocal, squared_norm
from tritstream.image.pack import pack
from tritstream.image.tape import MAX_FRACTION, Scalar
from tritstream.link.messages import Transfer
from tritstream.link.protocol import Code, Space
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.ice40 import Ice40Dividers
from tritstream_hw.boards.target import clocked
from tritstream_hw.build.plan import plan
from tritstream_hw.micro.compiler import compile_program
from tritstream_hw.micro.device import LIMITS, program_of
from tritstream_hw.micro.isa import SLOTS
from tritstream_hw.micro.language import add_carry
from tritstream_hw.micro.program.layout import (
    BANKS,
    HEADER,
    SCALES,
    TOPS,
    VECTORS,
)
from tritstream_sim.twin.micro import MicroSimulator, MicroTransport

BOARD = TARGETS["icebreaker"]
CONFIG = clocked(LIMITS, 24_000_000, 1_000_000)
EXTREME = 1 << FORMATS.element_bits - 1


@pytest.fixture(scope="module")
def program():
    return program_of(CONFIG, bytes(8))


@pytest.fixture
def machine(program):
    return MicroSimulator(program)


@pytest.fixture
def numbers(seed):
    return random.Random(seed)


def elements(numbers, count, bits=FORMATS.element_bits):
    """Return random numbers of all sizes, and the extremes."""
    limit = 1 << bits - 1
    sized = [numbers.randrange(-limit, limit) >> numbers.randrange(bits) for _ in range(count)]
    return [-limit, limit - 1, -1, 0, 1, *sized]


# The compiler.

big, small = 5, 7


def nothing():
    while True:
        pass


def unknown():
    for _ in ():
        pass


def unsupported():
    global big
    big = small ** big


def carried():
    global big
    big = add_carry(big, 1) // 1


@pytest.mark.parametrize("function, sentence", [
    (unknown, "test_micro.unknown, line .*: there is no such statement: for _ in"),
    (unsupported, "there is no such operation: small \\*\\* big"),
    (carried, "there is no such operation")])
def test_what_the_compiler_does_not_know(function, sentence):
    with pytest.raises(SyntaxError, match=sentence):
        compile_program(function)


def test_an_empty_program():
    program = compile_program(nothing)
    assert program.words == [0x8000] and not program.slots


def test_program_fits(program):
    assert len(program.slots) <= SLOTS
    assert program.functions["commands.main"] == 0


def test_functions_come_in_the_order_of_their_calls(program):
    """So that the same sources are the same program in every process."""
    assert list(program.functions)[:5] == [
        "commands.main", "commands.command", "link.put", "link.flush", "link.poll"]


def test_other_builds_are_refused():
    with pytest.raises(BadInput, match="has max_hidden = 128, not 64: only its clock"):
        program_of(dataclasses.replace(CONFIG, max_hidden=64), bytes(8))


# The board that it is for.

def test_the_board_s_pins_and_clock():
    constraints = plan(BOARD, bytes(8)).files["top.pcf"].split("\n")
    assert {"set_io clk12_0__io 35", "set_io uart_0__rx__io 6", "set_io uart_0__tx__io 9",
            "set_frequency clk12_0__io 12.0"} <= {*constraints}
    assert any(line.endswith(".clk 24.0") for line in constraints)


def test_the_board_has_one_build_at_several_clocks():
    assert Ice40Dividers.of(12_000_000, 24_000_000) == Ice40Dividers(feedback=64, output=5)
    assert BOARD.at(12_000_000).config.clock_hz == 12_000_000
    with pytest.raises(BadInput, match="cannot make 25 MHz .* one of 24.375, .* MHz, or the osc"):
        BOARD.at(25_000_000)
    with pytest.raises(BadInput, match="has one size: leave out --build"):
        BOARD.built("p=1")


# Its arithmetic, function by function.

def test_dequantise_and_sigmoid(machine, numbers):
    for total in elements(numbers, 60, 24):
        mantissa, shift = numbers.randrange(1 << 16), numbers.randrange(2, FORMATS.max_shift + 1)
        shift = max(shift, (total * mantissa).bit_length() - 20)
        assert machine.call("elements.dequantise", total, mantissa, shift) == dequantise(
            np.int64(total), mantissa, shift, FORMATS.vector_bits)
    for x in elements(numbers, 60):
        fraction = numbers.randrange(MAX_FRACTION + 1)
        assert machine.call("elements.sigmoid", x, fraction) == sigmoid(np.int64(x), fraction)


def test_elements(machine, numbers):
    for i in elements(numbers, 40):
        f, g = (numbers.choice(elements(numbers, 1)) for _ in range(2))
        keep = numbers.choice([0, 65535, numbers.randrange(65536)])
        fractions = numbers.randrange(8, MAX_FRACTION + 1), numbers.randrange(MAX_FRACTION + 1)
        h = numbers.randrange(*FORMATS.state_range)
        state, _ = mlgru(*map(np.int64, (i, f, 0, keep, h)), fractions)
        found = machine.call("elements.recurrence", i, f, keep, h, *fractions)
        assert found == state
        assert machine.call("elements.gate", i, g, fractions[0]) == glu(
            np.int64(i), np.int64(g), fractions[0])


def test_statistics_and_activations(machine, numbers):
    """Of vectors with the largest numbers, too, and of nothing but zeros."""
    for bits, gains, with_pre in ((32, 3, True), (32, 1, False), (12, 3, True), (1, 2, False)):
        rows = numbers.randrange(3, 12)
        limit = 1 << bits - 1
        vector = np.array([-limit if bits > 1 else 0, *(
            numbers.randrange(-limit, limit) if bits > 1 else 0 for _ in range(rows - 1))])
        banks = [np.array([numbers.choice([-32768, 32767, numbers.randrange(-32768, 32768)])
                           for _ in range(rows)]) for _ in range(gains)]
        pre = np.array([numbers.randrange(32768) for _ in range(rows)]) if with_pre else None
        (expected,) = statistics(vector[None], vector[None], pre, banks)
        machine.call("vectors.clear")
        data = b"".join(bank.astype("<i2").tobytes() for bank in (
            [pre] if with_pre else []) + banks)
        machine.data[BANKS:BANKS + len(data)] = data
        machine.data[VECTORS:VECTORS + 4 * rows] = vector.astype("<i4").tobytes()
        machine.set("vectors.pre_at", BANKS if with_pre else 0)
        first = BANKS + 2 * rows * with_pre
        machine.set("vectors.gains_at", first)
        machine.set("vectors.gains_step", 2 * rows)
        machine.set("vectors.quantisers", gains)
        for number in vector.tolist():
            machine.call("vectors.count_first", number)
            machine.call("vectors.count", number)
        assert wide(machine, "first") == expected.s1
        assert wide(machine, "second") == expected.s2
        machine.call("vectors.quantise", VECTORS, rows, first)
        for index, bank in enumerate(banks):
            place = index * LIMITS.max_hidden
            found = np.frombuffer(machine.activations, np.int8)[place:place + rows]
            assert found.tolist() == quantise(
                vector[None], bank, [expected.amax[index]])[0].tolist()
            peak = expected.amax[index]
            top = int.from_bytes(machine.data[TOPS + 8 * index:][:4], "little")
            assert peak == 0 == top or machine.call(
                "numbers.quotient", 127, top, FORMATS.reciprocal_bits) == reciprocal(peak)


def wide(machine, name):
    """Return a number of 96 bits."""
    return sum((machine.value(f"vectors.{name}{n}") & (1 << 32) - 1) << 32 * n for n in range(3))


def test_scales(machine, numbers):
    for _ in range(40):
        s1, s2 = (numbers.randrange(1 << numbers.randrange(1, 72)) for _ in range(2))
        amax = numbers.randrange(1, 1 << numbers.randrange(1, 48))
        scale = Scalar(numbers.randrange(1 << 15, 1 << 16), numbers.randrange(-40, -20))
        ratio = Scalar(numbers.choice([0, numbers.randrange(1 << 15, 1 << 16)]),
                       numbers.randrange(-48, -10))
        floor = Scalar(numbers.randrange(1, 1 << 16), numbers.randrange(30))
        try:
            norm = squared_norm(Statistics(s1, s2, ()), ratio, floor)
            expected = dequantiser(amax, norm, scale)
        except OverflowError:
            continue                    # no image has that
        for name, value in (("first", s1), ("second", s2)):
            for n in range(3):
                machine.set(f"vectors.{name}{n}", value >> 32 * n)
        places = amax.bit_length() - FORMATS.amax_bits
        top = amax >> places if places >= 0 else amax << -places
        machine.data[TOPS:TOPS + 8] = word(top) + word(places)
        fields = [*[scale.mantissa, scale.exponent, 0, 0, 0, 0], ratio.mantissa, ratio.exponent,
                  floor.mantissa, floor.exponent]
        for n, field in enumerate(fields):
            at = HEADER + 16 + 2 * n
            machine.data[at:at + 2] = (field & 0xFFFF).to_bytes(2, "little")
        machine.call("scales.make", HEADER, 1, 1)
        found = np.frombuffer(machine.data[SCALES:SCALES + 8], "<u4").tolist()
        assert tuple(found) == expected


def word(number):
    """Return the bytes of a word."""
    return (number & (1 << 32) - 1).to_bytes(4, "little")


# The driver with the whole program.

@pytest.fixture(scope="module")
def image(tmp_path_factory):
    model = ModelConfig(hidden=12, intermediate=20, layers=1, vocab=23)
    return pack(DummyCheckpoint(model, seed=5), tmp_path_factory.mktemp("model") / "dummy.trit")


@pytest.fixture(scope="module")
def device():
    with Device(MicroTransport(CONFIG)) as device:
        yield device


def test_greedy_tokens_equal_golden(device, image):
    assert device.load(image) == len(image.payload)
    assert device.load(image) == 0
    golden = GoldenEngine(image).open()
    prompt, count = [3, 17], 3
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], count)]
    results = list(device.run(prompt, count, fresh=True, candidates=True))
    assert [result.digest for result in results] == [entry.digest for entry in expected]
    assert len(results[-1].candidates) == LIMITS.candidates
    assert [record.digest for record in device.records()][-1] == results[-1].digest
    assert device.counters().frames_bad == device.statistics.resent == 0
    beats = device.counters().beats
    taken = [image.body_units, *[image.tape_units] * 3]
    assert beats == UNIT * (sum(taken) + 4 * image.row_units)
    first, *_ = device.run(prompt, fresh=True)      # with which the digest begins anew
    assert first.digest == results[0].digest


def test_cycles_are_as_estimated(device, image):
    device.load(image)
    (result,) = device.run([11], fresh=True)
    found = image_estimate(image, LIMITS, stage_of=estimate_micro_stage)
    assert found.core_cycles == pytest.approx(result.cycles, rel=0.02)
    assert found.limit is Limit.PROGRAM
    assert [stage.beats for stage in found.stages][0] == image.lead_units * UNIT + (
        image.row_units * UNIT)


def test_a_streamed_pass_and_its_logits(device, image):
    golden = GoldenEngine(image).open()
    device.load(image, streamed=True)
    device.clear_digest()
    (result,) = device.run([9], fresh=True, logits=True, candidates=True)
    (expected,) = golden.run(9, 1)
    assert result.digest == expected.digest and result.stalls > 0
    assert list(result.candidates) == candidates(result.logits.astype(int), LIMITS.candidates)


def test_state_is_kept_and_restored(device, image):
    device.load(image)
    list(device.run([3], fresh=True))
    state = device.save_state()
    (first,) = device.run([4])
    device.restore_state(state)
    (again,) = device.run([4])
    assert again.candidates == first.candidates


def test_states_are_kept_and_recalled(device, image):
    device.load(image)
    states, crcs = [], []
    for shelf in (0, device.shelves - 1):
        list(device.run([shelf % 23, 5], fresh=True))
        states.append(device.save_state())
        crcs.append((shelf, device.keep_state(shelf)))
    assert device.load(image) == 0
    for (shelf, crc), state in reversed(list(zip(crcs, states, strict=True))):
        device.recall_state(shelf, crc)
        assert np.array_equal(device.save_state(), state)
    where = dict(unit=LIMITS.memory_units - 2, units=2, address=0)
    for change, kept, recalled in (
            (dict(space=Space.VECTORS, words=40), 0, 0), (dict(space=Space.STATE, words=9), 0, 0),
            (dict(space=Space.STATE, words=9, units=3), 1, 1),
            (dict(space=Space.STATE, words=LIMITS.max_state + 1), 1, 1),
            (dict(space=Space.RECORDS, words=8, units=1), 0, 2), (dict(space=5, words=1), 2, 2)):
        for code, status in (Code.KEEP, kept), (Code.RECALL, recalled):
            device._command(code, Transfer(**{**where, **change}).pack())
            assert tuple(device._stream.read(2)) == (code, status)
    words = np.array([1, -2, 0x1234_5678, 4, 5])
    device.store(Space.VECTORS, 0, words)
    device.store(Space.STATE, 16, np.array([6, 7, 8, 9]))
    for code, change in ((Code.KEEP, dict(space=Space.VECTORS, words=4, units=1)),
                         (Code.RECALL, dict(space=Space.STATE, words=20, units=1))):
        device._command(code, Transfer(**{**where, **change}).pack())
        assert tuple(device._stream.read(2)) == (code, 0)
    state = device.read(Space.STATE, 0, 20).tolist()
    assert state == [1, -2, 0x34_5678, 4, *[0] * 12, 6, 7, 8, 9]


def test_accesses_that_are_refused(device):
    with pytest.raises(DeviceError, match="refused to read 1 words of space 4"):
        device.read(Space.REGISTERS, 0, 1)
    with pytest.raises(DeviceError, match="out of its range"):
        device.read(Space.STATE, LIMITS.max_state, 1)
    with pytest.raises(DeviceError, match="read only"):
        device.store(Space.RECORDS, 0, np.zeros(1))
    device.write_memory(0, bytes(UNIT))
    with pytest.raises(DeviceError, match="out of its range"):
        device.write_memory(LIMITS.memory_bytes, bytes(UNIT))


@pytest.mark.parametrize("change", [
    dict(stages=0), dict(tape_units=2), dict(token=23), dict(stages=5), dict(stages=7)])
def test_passes_that_are_refused(device, image, change):
    device.load(image)
    play = dataclasses.replace(device.play_of(3), **change)
    with pytest.raises(DeviceError, match="refused to run token"):
        list(device.play([play]))
    assert len(list(device.run([3], fresh=True))) == 1


@pytest.mark.parametrize("place, value", [
    (0, 0), (1, 5), (2, 0xFF), (4, 255), (6, 0), (36, 9), (12, 1), (8, 0xFF)])
def test_headers_that_make_no_sense(device, image, place, value):
    device.load(image)
    at = image.sections[1].start - image.sections[1].start % UNIT
    data = bytearray(image.payload[at:at + UNIT])
    data[place] = value
    if place == 4:
        data[5] = 255
    if place == 6:
        data[7] = 0
    if place == 8:
        data[8:12] = b"\xff" * 4
    device.write_memory(at, data)
    with pytest.raises(DeviceError, match="the tape does not make sense"):
        list(device.run([3], fresh=True))


def test_reset_ends_a_run(device, image):
    device.load(image)
    run = device.run([3], 1000, fresh=True)
    next(run)
    run.close()
    assert len(list(device.run([3], 2, fresh=True))) == 2


def test_what_is_enough_ends_a_run(device, image):
    device.load(image)
    taken = []
    for result in device.run([3], 200, fresh=True, enough=lambda: len(taken) >= 2):
        taken.append(result)
    assert 2 <= len(taken) <= 4
    assert len(list(device.run([3], 2, fresh=True))) == 2


def test_frames_that_are_damaged_come_again(image):
    transport = MicroTransport(CONFIG)
    write, count = transport.write, 0

    def damage(data):
        nonlocal count
        count += 1
        data = bytearray(data)
        if count % 7 == 0:
            data[len(data) // 2] ^= 1
        write(data)

    transport.write = damage
    with Device(transport) as device:
        device.load(image)
        results = list(device.run([3], 3, fresh=True))
    expected = GoldenEngine(image).open().run(3, 3)
    assert [result.digest for result in results] == [entry.digest for entry in expected]
    assert transport.machine.value("link.bad") > 0


def test_what_is_told_of_a_code_that_there_is_not(device):
    device._command(Code.UNKNOWN)
    assert device._stream.read(1)[0] == Code.UNKNOWN
    device.stop()
    assert device.identify() == device.identity
