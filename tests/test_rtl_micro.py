"""The gates of the micro machine: each ability, held to the simulator, and the driver with tiny."""

import functools
import json
import pathlib
import random

import pytest

from tritstream.catalog import Model, resolve
from tritstream.cli.app import run
from tritstream.driver import Device
from tritstream.engines import open_engine
from tritstream.engines.board import DeviceEngine
from tritstream.engines.golden import GoldenEngine
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.target import clocked
from tritstream_hw.micro.compiler import compile_program
from tritstream_hw.micro.core import Core
from tritstream_hw.micro.device import LIMITS, MicroDevice
from tritstream_hw.micro.isa import Place, Region
from tritstream_hw.micro.language import (
    Table,
    add_carry,
    append8,
    append16,
    append32,
    below,
    crc,
    dot,
    high,
    left_pair,
    multiply,
    next8,
    next16,
    next32,
    next_signed16,
    read8,
    read16,
    read32,
    read_signed16,
    right_pair,
    rounded,
    rounded_product,
    unsigned_right,
    write8,
    write16,
    write32,
)
from tritstream_sim.board import launch
from tritstream_sim.twin.engine_contract import (
    a_state_at_its_limits_goes_on,
    contract_model,
    feeding_is_stepping,
)
from tritstream_sim.twin.micro import MicroSimulator
from tritstream_sim.verilate import pads, stepped
from tritstream_sim.verilate.pads import build_board
from tritstream_sim.verilate.stepped import Bench, SteppedTransport, build_stepped

BOARD = TARGETS["icebreaker"]
CONFIG = clocked(LIMITS, 24_000_000, 1_000_000)
SPRAM = pathlib.Path(stepped.__file__).parent / "primitives" / "ice40_spram.v"
PAIRS = 60                  # fewer bytes than the ring has
PATIENCE = 200_000          # cycles for one pair

pytestmark = pytest.mark.verilator

# A program that tells what each ability makes of pairs of numbers, which come one after the other.

RING = Region.RECEIVED.base
ACTIVATIONS = Region.ACTIVATIONS.base
CODES = 0x1FF40
NUMBERS = 0x8004
TABLE = Table([0x1234, 0xFEDC])
taken = 0


def operations():
    while True:
        a = word()
        b = word()
        sums(a, b)
        products(a, b, b & 63)
        memory(a, b)
        rows(a, b)


def word():
    global taken
    number = 0
    places = 0
    while places != 32:
        while read16(Place.RECEIVED) == (taken & 2047):
            pass
        number |= read8(RING + (taken & 2047)) << places
        taken += 1
        places += 8
    return number


def tell(number):
    count = 4
    while count:
        while read16(Place.SENDING):
            pass
        write8(Place.SEND, number)
        number = unsigned_right(number, 8)
        count -= 1


def sums(a, b):
    total = a + b
    upper = add_carry(a, b)
    tell(total)
    tell(upper)
    tell(a - b)
    tell((a & b) ^ (a | 0x55))
    truths = (a < b) | (a <= b) << 1 | (a == b) << 2 | (a != 0) << 3
    if below(a, b):
        truths |= 16
    tell(truths)
    tell(crc(a, b))


def products(a, b, places):
    tell(multiply(a, b))
    tell(high())
    tell(right_pair(a, b, places))
    tell(high())
    tell(left_pair(a, b, places))
    tell(high())
    tell(rounded(a, places))
    tell(rounded_product(a, b, places))
    tell(unsigned_right(a, places) + (a >> places) - (a << places))


def memory(a, b):
    at = NUMBERS
    append32(at, a)
    append16(at, b)
    append8(at, a)
    append8(at, b)
    write16(at, a)
    write16(at + 2, b)
    at -= 8
    tell(next32(at) ^ next16(at))
    tell(next8(at) - next8(at))
    tell(next_signed16(at))
    write8(at, a)
    write32(at + 2, b)
    tell(read32(at - 2))
    tell(read8(at + 5) + read_signed16(at + 2))
    place = TABLE + (a & 2)
    tell(next16(place))


def rows(a, b):
    at = ACTIVATIONS + 128
    append8(at, a)
    append8(at, b >> 8)
    append8(at, 129)
    append8(at, a >> 16)
    write32(CODES, a ^ b)
    write32(CODES + 4, 0)
    dot(CODES, 128, (b & 3) + 1)
    at = Place.SUMS
    while at != Place.SUMS + 10:
        tell(next_signed16(at))


PROGRAM = compile_program(operations)
TOLD = 26                   # numbers, of each pair


@pytest.fixture(scope="module")
def executable(request):
    devices = [MicroDevice(CONFIG, CONFIG.digest()), Core(PROGRAM.words, PROGRAM.slots)]
    return build_stepped(Bench(devices), "micro", request.config.rootpath / "build" / "sim",
                         modules=SPRAM.read_text())


def pairs(seed):
    """Return pairs of numbers of all sizes, and the extremes."""
    numbers = random.Random(seed)
    edges = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF, 0x1_0000]
    found = [(a, b) for a in edges[:5] for b in edges[1:5]]
    while len(found) < PAIRS:
        found.append(tuple(numbers.randrange(1 << numbers.randrange(1, 33)) for _ in range(2)))
    return found


def with_valid_codes(pair):
    """Return a pair whose exclusive or has no byte that means no trits: its last bits are 0."""
    a, b = pair
    return a, b ^ ((a ^ b) & 0xC0C0_C0C0)


@pytest.mark.parametrize("stall", [0, 30])
def test_abilities(executable, seed, stall):
    chosen = [with_valid_codes(pair) for pair in pairs(seed)]
    data = b"".join(number.to_bytes(4, "little") for pair in chosen for number in pair)
    machine = MicroSimulator(PROGRAM)
    machine.receive(data)
    while len(machine.sent) < 4 * TOLD * PAIRS:
        machine.step()
    found = bytearray()
    with SteppedTransport(executable, 1, stall=stall, seed=seed) as transport:
        transport.write(data)
        while len(found) < len(machine.sent):
            piece = transport.step(PATIENCE)
            assert piece, f"nothing comes behind {len(found)} bytes"
            found += piece
    for n, pair in enumerate(chosen):
        told = slice(4 * TOLD * n, 4 * TOLD * (n + 1))
        assert found[told] == machine.sent[told], pair


def test_tiny_equals_golden(executable):
    """It is uploaded, and generates; then a run is broken off, and begins anew."""
    image = resolve("tiny").image
    golden = GoldenEngine(image).open()
    with Device(SteppedTransport(executable)) as device:
        assert device.load(image) == len(image.payload)
        results = list(device.run([17], 4, fresh=True))
        expected = list(golden.run(17, 4))
        assert [result.digest for result in results] == [entry.digest for entry in expected]
        assert [result.best for result in results] == [
            entry.candidates.best for entry in expected]
        run = device.run([3], 100, fresh=True)
        next(run)
        run.close()
        assert device.load(image) == 0


def test_with_pauses(executable, tmp_path, seed):
    model = ModelConfig(hidden=12, intermediate=20, layers=1, vocab=23)
    image = pack(DummyCheckpoint(model, seed=seed), tmp_path / "dummy.trit")
    golden = GoldenEngine(image).open()
    with Device(SteppedTransport(executable, stall=40, seed=seed)) as device:
        device.load(image)
        results = list(device.run([3, 9], 2, fresh=True))
        expected = [*golden.feed([3]), *golden.run(9, 2)]
        assert [result.digest for result in results] == [entry.digest for entry in expected]


@pytest.mark.parametrize("case", [feeding_is_stepping, a_state_at_its_limits_goes_on],
                         ids=lambda case: case.__name__)
def test_engine(executable, tmp_path, case):
    model = Model("contract", contract_model(tmp_path).path)
    device = Device(SteppedTransport(executable, patience=float("inf")))
    with (DeviceEngine(device, model.image, simulated=True) as engine,
          open_engine("golden", model) as twin):
        case(engine, twin)


@pytest.fixture(scope="module")
def board(request):
    """The whole top, with models of its PLL and its memory."""
    return build_board(BOARD, BOARD.config.digest(), request.config.rootpath / "build" / "sim")


@pytest.fixture
def small(tmp_path, seed):
    """A model so small that a token, simulated, takes a moment."""
    model = ModelConfig(hidden=12, intermediate=20, layers=1, vocab=23)
    return pack(DummyCheckpoint(model, seed=seed), tmp_path / "dummy.trit")


def test_a_model_up_to_the_pads_of_the_board(board, small, seed):
    """It is uploaded over the UART, and run."""
    golden = GoldenEngine(small).open()
    with Device(SteppedTransport(board, baud=BOARD.baud, seed=seed), build=BOARD.config.digest(),
                dead_seconds=1e9, patience_seconds=1e9) as device:
        assert device.load(small) == len(small.payload)
        results = list(device.run([3, 9], 2, fresh=True))
        expected = [*golden.feed([3]), *golden.run(9, 2)]
        assert [result.digest for result in results] == [entry.digest for entry in expected]
        assert device.statistics.bad == device.statistics.resent == 0


@pytest.mark.parametrize("line, equal", [
    (["verify", "--tokens", "3,9", "-n", "1"], {"equal", "tokens", "stages", "digest"}),
    (["eval", "--tokens", "3,9,20"], {"perplexity", "tokens", "top1_equal_float"})],
    ids=["verify", "eval"])
def test_verbs_on_the_board(board, small, tmp_path, monkeypatch, capfd, line, equal):
    """By the command line, to the simulated pads and to golden."""
    monkeypatch.setattr(pads, "build_board", lambda *made: board)
    monkeypatch.setattr("tritstream_sim.board.launch", functools.partial(launch, cache=tmp_path))
    found = []
    for device in ("golden", f"sim:{BOARD.name}"):
        assert run([*line, "-m", str(small.path), "--device", device, "--json"]) == 0
        found.append(json.loads(capfd.readouterr().out))
    golden, simulated = ({name: table[name] for name in equal} for table in found)
    assert simulated == golden
