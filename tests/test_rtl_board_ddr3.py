"""The board with a DDR3 memory, as in its bitstream: the real driver at its UART.

LiteDRAM's controller has a model of a chip in the place of its cells at the pads. A host that
starts and levels it is in `benches.memory.ddr3`, and, at this board, in `report.board`.
"""

import dataclasses
import zlib

import pytest

from tritstream.ddr3.levelling import DELAYS, KEPT, LANES, STARTED, Window
from tritstream.ddr3.link import LinkAccess
from tritstream.ddr3.registers import ADDRESS
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.boards import TARGETS
from tritstream_sim.verilate.pads import build_board
from tritstream_sim.verilate.stepped import SteppedTransport

TARGET = TARGETS["ecpix5_85f"]
# The board's own widths and clocks; small maxima, so that it compiles quickly.
CONFIG = dataclasses.replace(TARGET.config, candidates=4, max_hidden=64, max_intermediate=64,
                             max_vocab=64, max_state=64, max_stages=8)
BUILD_ID = bytes(range(1, 9))
EVERYWHERE = Window(0, 0, DELAYS - 1)       # of a lane of the model with the seed 0

pytestmark = pytest.mark.verilator


def test_a_model_is_found_in_a_memory_that_was_started_and_generates(request, tmp_path):
    model = ModelConfig(hidden=32, intermediate=48, layers=1, vocab=40)
    image = pack(DummyCheckpoint(model, seed=5), tmp_path / "dummy.trit")
    content = tmp_path / "content"
    content.write_bytes(image.payload)
    executable = build_board(dataclasses.replace(TARGET, config=CONFIG), BUILD_ID,
                             request.config.rootpath / "build" / "sim")
    transport = SteppedTransport(executable, baud=TARGET.baud, ddr3_seed=0, ddr3_image=content)
    with Device(transport, build=BUILD_ID, dead_seconds=1e9, patience_seconds=1e9) as device:
        access = LinkAccess(device)
        access.store(ADDRESS[KEPT], [EVERYWHERE.pack()] * LANES)
        access.store(ADDRESS["dfii_control"], [STARTED])
        assert device.start_memory() == (EVERYWHERE,) * LANES
        assert device.load(image) == 0

        prompt, count = [3, 17], 4
        golden = GoldenEngine(image).open()
        expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], count)]
        results = list(device.run(prompt, count, fresh=True))
        assert [result.digest for result in results] == [entry.digest for entry in expected]

        written = bytes(range(64)) * 4
        device.write_memory(1 << 20, written)       # another row of the chip
        assert device.memory_crc(1 << 20, len(written)) == zlib.crc32(written)
        assert device.memory_crc(0, len(image.payload)) == zlib.crc32(image.payload)
        assert device.statistics.bad == device.statistics.resent == 0
