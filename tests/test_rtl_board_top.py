"""A board with block RAM from pad to pad: its top as in the bitstream, the driver at its UART."""

import contextlib
import dataclasses
import random

import pytest

from tritstream.analysis.selftest import examine
from tritstream.build import BuildConfig
from tritstream.cli.selftest import SMALLEST
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.formats import UNIT
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.target import clocked
from tritstream_sim.board.pads import PadsTransport
from tritstream_sim.verilate.pads import build_board
from tritstream_sim.verilate.stepped import SteppedTransport

TARGET = TARGETS["ulx3s_85f_bram"]
MODEL = ModelConfig(hidden=32, intermediate=48, layers=1, vocab=40)
# The board's own widths, clock and rate; small maxima, so that it compiles in seconds.
SMALL = BuildConfig(beat_bytes=TARGET.config.beat_bytes, vector_width=TARGET.config.vector_width,
                    candidates=4, max_hidden=64, max_intermediate=64, max_vocab=64, max_state=64,
                    max_stages=8, memory_bytes=16 * 1024)
CONFIG = clocked(SMALL, TARGET.config.clock_hz, TARGET.baud)
BUILD_ID = bytes(range(1, 9))

pytestmark = pytest.mark.verilator


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return pack(DummyCheckpoint(MODEL, seed=5), tmp_path_factory.mktemp("model") / "dummy.trit")


@pytest.fixture(scope="module")
def executable(request):
    return build_board(dataclasses.replace(TARGET, config=CONFIG), BUILD_ID,
                       request.config.rootpath / "build" / "sim")


@pytest.fixture
def connect(executable, seed):
    """Open the driver on the board, with an error of the host's clock."""
    with contextlib.ExitStack() as stack:
        def open_device(error: float = 0.0, stall: int = 0, **options):
            transport = SteppedTransport(executable, baud=TARGET.baud * (1 + error), stall=stall,
                                         seed=seed)
            stack.callback(transport.close)
            return Device(transport, dead_seconds=1e9, patience_seconds=1e9, **options)
        yield open_device


def test_small_model_has_the_board_s_widths():
    differing = {field.name for field in dataclasses.fields(BuildConfig)
                 if getattr(CONFIG, field.name) != getattr(TARGET.config, field.name)}
    assert differing == {"candidates", "max_hidden", "max_intermediate", "max_vocab", "max_state",
                         "max_stages", "memory_bytes"}


def test_build_id_is_checked(connect):
    device = connect(build=BUILD_ID)
    assert device.identity.build == BUILD_ID
    assert device.identity.clock_hz == CONFIG.clock_hz
    assert device.identity.link_rate == 300_000


@pytest.mark.parametrize("streamed", [False, True], ids=["block RAM", "streamed"])
def test_greedy_tokens_equal_golden(connect, image, streamed):
    device = connect()
    assert (device.load(image, streamed=streamed) == 0) == streamed
    prompt, count = [3, 17], 2
    golden = GoldenEngine(image).open()
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], count, candidates=True)]
    results = list(device.run(prompt, count, fresh=True, candidates=True))
    assert [result.digest for result in results] == [entry.digest for entry in expected]
    for result, entry in zip(results[1:], expected[1:], strict=True):
        tokens = tuple(token for token, _ in result.candidates)
        assert tokens == entry.candidates.tokens[:CONFIG.candidates]
    assert device.statistics.bad == device.statistics.resent == 0


@pytest.mark.parametrize("error", [-0.03, 0.03])
def test_host_s_clock_may_be_three_percent_off(connect, seed, error):
    device = connect(error, stall=5)
    device.upload(random.Random(seed).randbytes(8 * UNIT))
    assert device.statistics.bad == device.statistics.resent == 0


@pytest.mark.parametrize("slower", [1, 2])
def test_its_test_finds_half_its_clock(executable, tmp_path, slower):
    """A PLL that makes half of what it should; also the whole test of a board without a fault."""
    small = pack(DummyCheckpoint(SMALLEST, seed=1), tmp_path / "small.trit")

    def connect(part):
        transport = PadsTransport(executable, "board", baud=part * TARGET.baud,
                                  settings={"pll_slower": slower})
        return Device(transport, dead_seconds=3 if part == 1 and slower == 2 else 300)

    checks = {check.name: check for check in examine(connect, [small], seconds=1)}
    print(checks)
    if slower == 1:
        assert {check.verdict for check in checks.values()} == {"PASS"}
        assert checks["clock"].value == pytest.approx(TARGET.config.clock_hz, rel=0.03)
    else:
        assert checks["link"].verdict == checks["clock"].verdict == "FAIL"
        assert checks["clock"].value == 1 / 2
