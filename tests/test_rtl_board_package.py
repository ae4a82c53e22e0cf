"""A board with the SDRAM in its FPGA's package, from pad to pad: the driver at its UART."""

import contextlib
import dataclasses
import random

import pytest

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import DeviceError
from tritstream.formats import UNIT
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.target import clocked
from tritstream_sim.board.pads import PadsTransport
from tritstream_sim.verilate.pads import build_board

TARGET = TARGETS["tang_nano_20k"]
# The board's own widths, clock, rate and memory; small maxima, so that it compiles in seconds.
SMALL = BuildConfig(beat_bytes=TARGET.config.beat_bytes, vector_width=TARGET.config.vector_width,
                    candidates=4, max_hidden=64, max_intermediate=64, max_vocab=64, max_state=64,
                    max_stages=8, memory_bytes=TARGET.config.memory_bytes)
CONFIG = clocked(SMALL, TARGET.config.clock_hz, TARGET.baud)

pytestmark = pytest.mark.verilator


@pytest.fixture(scope="module")
def executable(request):
    return build_board(dataclasses.replace(TARGET, config=CONFIG), bytes(range(8)),
                       request.config.rootpath / "build" / "sim")


@pytest.fixture
def connect(executable):
    """Open the driver on the board, whose models have other settings than their own."""
    with contextlib.ExitStack() as stack:
        def open_device(**settings):
            transport = PadsTransport(executable, "board", baud=TARGET.baud, settings=settings)
            stack.callback(transport.close)
            return Device(transport, dead_seconds=300)
        yield open_device


def test_greedy_tokens_equal_golden(connect, tmp_path):
    model = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
    image = pack(DummyCheckpoint(model, seed=5), tmp_path / "dummy.trit")
    device, prompt, count = connect(), [3, 17], 2
    assert device.load(image) == len(image.payload)
    golden = GoldenEngine(image).open()
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], count)]
    results = list(device.run(prompt, count, fresh=True))
    assert [result.digest for result in results] == [entry.digest for entry in expected]
    assert device.statistics.bad == device.statistics.resent == 0


@pytest.mark.parametrize("out, back, reads", [
    (0.1, 0.0, False), (0.5, 0.0, True), (3.5, 2.2, True), (3.5, 2.6, False), (7.0, 7.0, False)])
def test_the_ways_of_the_pads_may_take_long(connect, seed, out, back, reads):
    """From 0.2 to 5.8 ns in all, as the phase of the chip's clock allows."""
    device, content = connect(pads_out=out, pads_in=back), random.Random(seed).randbytes(UNIT)
    if reads:
        assert device.upload(content) == UNIT
    else:
        with pytest.raises(DeviceError, match="does not hold what was written"):
            device.upload(content)
