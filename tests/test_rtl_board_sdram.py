"""The board with an SDRAM, as in its bitstream: the real driver at its UART, a chip at its pins.

The chip holds its controller to every time of its data sheet: a run that ends well has kept them.
"""

import contextlib
import random
import re

import pytest

from tritstream.analysis.memtest import examine_memory
from tritstream.analysis.selftest import examine
from tritstream.catalog import resolve
from tritstream.cli.selftest import SMALLEST
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import DeviceError
from tritstream.flash import Stored, stored
from tritstream.formats import UNIT
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.ecp5 import MEMORY_HZ
from tritstream_hw.flash.reader import clock_period
from tritstream_sim.board.pads import PadsTransport
from tritstream_sim.verilate.pads import build_board
from tritstream_sim.verilate.stepped import MICROSECOND, SteppedTransport

TARGET = TARGETS["ulx3s_85f"]
BUILD_ID = bytes(range(1, 9))
MEMORY_RATE = 2 * 400e6 / 3             # bytes per second, at most
LATER = 0.6e-6                          # seconds by which writes come later than those before
FLASH_CLOCK = 1e9 * clock_period(TARGET.config.clock_hz) / TARGET.config.clock_hz   # nanoseconds

pytestmark = pytest.mark.verilator


@pytest.fixture(scope="module")
def executable(request):
    return build_board(TARGET, BUILD_ID, request.config.rootpath / "build" / "sim")


@pytest.fixture
def port(executable, seed):
    """Open the UART of the board, whose models have other settings than their own."""
    with contextlib.ExitStack() as stack:
        def open_port(**settings):
            transport = SteppedTransport(executable, baud=TARGET.baud, seed=seed, **settings)
            stack.callback(transport.close)
            return transport
        yield open_port


def drive(transport) -> Device:
    """Open the driver, which has all the time of the host's clock."""
    return Device(transport, build=BUILD_ID, dead_seconds=1e9, patience_seconds=1e9)


@pytest.fixture
def connect(port):
    """Open the driver on the board."""
    return lambda **settings: drive(port(**settings))


def check_tokens(device, image: Image, prompt, count: int):
    """Generate greedily, and compare every digest and candidate with the golden model."""
    golden = GoldenEngine(image).open()
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], count, candidates=True)]
    results = list(device.run(prompt, count, fresh=True, candidates=True))
    assert [result.digest for result in results] == [entry.digest for entry in expected]
    for result, entry in zip(results[len(prompt) - 1:], expected[len(prompt) - 1:], strict=True):
        assert tuple(token for token, _ in result.candidates) == entry.candidates.tokens
    assert device.statistics.bad == device.statistics.resent == 0


def test_a_model_is_uploaded_and_generates(connect, tmp_path):
    model = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
    image = pack(DummyCheckpoint(model, seed=5), tmp_path / "dummy.trit")
    device = connect()
    assert device.stored() == Stored.NOTHING
    assert device.load(image) == len(image.payload)
    check_tokens(device, image, [3, 17], 2)


def test_a_model_in_the_flash_memory_is_there_when_the_host_comes(connect, tmp_path):
    """Though the chip was left in a mode in which it takes no command."""
    model = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
    image = pack(DummyCheckpoint(model, seed=5), tmp_path / "dummy.trit")
    content = tmp_path / "content"
    content.write_bytes(stored(image.payload, TARGET.config.stripes))
    device = connect(flash_image=content, flash_continuous=1)
    assert device.stored() == Stored.LOADED
    assert device.load(image) == 0
    check_tokens(device, image, [3, 17], 3)


@pytest.mark.parametrize("bit, settings", [(UNIT * 8, {}), (None, {"flash_access": FLASH_CLOCK})],
                         ids=["a flipped bit", "a slow chip"])
def test_a_model_that_is_not_read_as_it_was_stored_is_found(connect, seed, tmp_path, bit, settings):
    content = bytearray(stored(random.Random(seed).randbytes(4 * UNIT), TARGET.config.stripes))
    if bit is not None:
        content[bit // 8] ^= 1
    path = tmp_path / "content"
    path.write_bytes(content)
    device = connect(flash_image=path, **settings)
    assert device.stored() == (Stored.NOTHING if bit is None else Stored.DAMAGED)
    assert device.upload(random.Random(seed).randbytes(UNIT)) == UNIT


def test_tiny_generates_at_the_speed_of_the_memory(connect, tmp_path):
    """What the chip holds from the start is found to be the image, and not sent again."""
    image = resolve("tiny").image
    content = tmp_path / "content"
    content.write_bytes(image.payload)
    device = connect(sdr_image=content)
    assert device.load(image) == 0
    check_tokens(device, image, [0, 262, 61], 4)
    cycles = sum(record.cycles for record in device.records())
    seconds = cycles / TARGET.config.clock_hz
    print(f"{cycles} cycles, {1 / seconds:.1f} tok/s")
    assert image.tape().nbytes / seconds >= 0.97 * MEMORY_RATE


@pytest.mark.parametrize("name, value, rule", [
    ("rcd", 46, "tRCD"), ("rp", 60, "tRP"), ("ras", 1000, "tRAS"), ("rfc", 100, "tRFC"),
    ("wr", 8000, "tWR"), ("refi", 4000, "refresh is late"), ("power_up", 201_000, "power up"),
    ("setup", 3.8, "tS"), ("hold", 3.8, "tH"),
])
def test_a_slower_chip_is_not_served(port, seed, capfd, name, value, rule):
    """No time is far longer than it has to be, nor unchecked.

    What is written alone stays open until the next refresh, and rows that are read stream by for
    longer. Writes come later and later in the interval of refreshes, so one comes just before.
    """
    transport, content = port(**{f"sdr_{name}": value}), random.Random(seed).randbytes(UNIT)
    interval = TARGET.chip.cycles(MEMORY_HZ).refi / MEMORY_HZ
    later = 128 * interval + LATER          # a write, and its answer, take less than that
    with pytest.raises(EOFError):
        device, began = drive(transport), transport.cycles
        for n in range(1, 2 + int(interval / LATER)):
            device.write_memory(0, content)
            transport.idle(began + int(n * later * 1e6 * MICROSECOND) - transport.cycles)
    assert rule in capfd.readouterr().err


@pytest.mark.parametrize("out, back, reads", [
    (1.0, 0.5, True), (4.0, 1.5, True), (0.5, 0.5, False), (4.5, 2.0, False)])
def test_the_ways_of_the_pads_may_take_long(connect, seed, out, back, reads):
    """1.5 to 5.5 ns in all, as the phase of the chip's clock allows."""
    device = connect(pads_out=out, pads_in=back)
    content = random.Random(seed).randbytes(UNIT)
    if reads:
        assert device.upload(content) == UNIT
    else:
        with pytest.raises(DeviceError, match="does not hold what was written"):
            device.upload(content)


# What `tritstream selftest` says of a board with a fault.

@pytest.fixture
def connect_pads(executable):
    """Open the driver on ``sim:ulx3s_85f``, with faults in its models."""
    with contextlib.ExitStack() as stack:
        def open_device(**settings):
            transport = PadsTransport(executable, "sim:ulx3s_85f", baud=TARGET.baud,
                                      settings=settings)
            stack.callback(transport.close)
            return Device(transport, dead_seconds=3 if "pll_unlocked" in settings else 300)
        yield open_device


@pytest.mark.parametrize("settings, check, found", [
    ({"sdr_ras": 1000}, "memory|token", "model at its pads says .*tRAS"),
    ({"sdr_refi": 4000}, "link", "model at its pads says .*refresh is late"),
    ({"pll_unlocked": 1}, "link", "does not answer.*its PLL does not lock"),
], ids=["late RAS", "missing refresh", "unlocked PLL"])
def test_a_fault_is_named(connect_pads, tmp_path, settings, check, found):
    image = pack(DummyCheckpoint(SMALLEST, seed=1), tmp_path / "small.trit")
    *_, last = examine(lambda part: connect_pads(**settings) if part == 1 else None, [image], 1)
    # A row that is closed too early is one that a refresh happens to close.
    assert re.fullmatch(check, last.name) and last.verdict == "FAIL"
    assert re.search(found, last.found)


@pytest.mark.parametrize("settings, found", [
    ({"sdr_stuck": 3}, "bit 3 of every 16 is stuck at 0"),
    ({"sdr_swapped": 1}, "bytes 0 and 1 of every 2 are exchanged"),
], ids=["stuck", "swapped"])
def test_a_fault_of_data_lines_is_named(connect_pads, settings, found):
    data_lines = next(examine_memory(connect_pads(**settings), 1))
    assert data_lines.found.startswith(found)
