"""A DDR3 memory is started and levelled through its registers, whatever its lanes' delays are."""

import dataclasses
import json
import random
import time
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from tritstream.build import BuildConfig
from tritstream.cli import devices as devices_module
from tritstream.cli.app import run
from tritstream.ddr3.levelling import (
    BITSLIPS,
    DELAYS,
    LANES,
    LevellingError,
    Window,
    kept,
    start,
)
from tritstream.ddr3.registers import WORDS, Control
from tritstream.driver import Device
from tritstream.errors import DeviceError
from tritstream.formats import UNIT
from tritstream_sim.twin.ddr3 import Ddr3Twin
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.fake import FakeImage, FakeModel
from tritstream_sim.twin.in_process import InProcessTransport

CONFIG = BuildConfig(memory_bytes=1 << 16, memory_registers=sum(WORDS.values()), max_hidden=64,
                     max_intermediate=128, max_state=128, max_vocab=64)
WINDOWS = [Window(1, 2, 6), Window(3, 0, 4)]


def drawn(rng: random.Random) -> Window:
    first = rng.randrange(DELAYS)
    return Window(rng.randrange(BITSLIPS), first, rng.randrange(first, DELAYS))


@pytest.mark.parametrize("number", range(20))
def test_each_lane_is_read_in_the_middle_of_its_window(number, seed):
    rng = random.Random(f"{seed} {number}")
    twin = Ddr3Twin([drawn(rng) for _ in range(LANES)])
    windows = start(twin, twin.wait)
    assert list(windows) == twin.windows
    assert [(lane.bitslip, lane.delay) for lane in twin.lanes] == [
        (window.bitslip, (window.first + window.last) // 2) for window in windows]
    assert twin.control == Control.HARDWARE | Control.CKE | Control.ODT | Control.RESET_N


def test_it_is_started_as_its_data_sheet_wants():
    """CAS latency 6, write latency 5, write recovery 5, 34 and 60 ohm; its times, in order."""
    twin = Ddr3Twin([Window(0, 0, 7)] * LANES)
    start(twin, twin.wait)
    assert list(twin.modes.items()) == [(2, 0), (3, 0), (1, 0x006), (0, 0x320)]
    assert 700e-6 <= twin.seconds < 0.1


def test_it_can_be_started_again():
    twin = Ddr3Twin(WINDOWS)
    assert start(twin, twin.wait) == start(twin, twin.wait)


def test_the_registers_keep_what_was_found():
    twin = Ddr3Twin(WINDOWS)
    assert kept(twin) is None
    start(twin, twin.wait)
    assert kept(twin) == tuple(WINDOWS)
    assert [window.margin for window in WINDOWS] == [2, 2]
    assert Window(0, 3, 4).margin == 0


def test_a_lane_that_reads_nowhere_is_named():
    twin = Ddr3Twin([Window(0, 0, 7), None])
    with pytest.raises(LevellingError, match="Byte lane 1 .* none of 4 bitslips and 8 delays"):
        start(twin, twin.wait)
    assert Control.HARDWARE not in twin.control and kept(twin) is None


def test_a_lane_that_moves_is_named():
    """What it read while it was looked for it does not read behind that."""
    class Moving(Ddr3Twin):
        def _place(self, name):
            super()._place(name)
            if self._words[0] and self._value("dly_sel") == 1:      # a lane alone: it is placed
                self.windows[0] = Window((self.windows[0].bitslip + 1) % BITSLIPS, 0, 7)

    twin = Moving([Window(1, 0, 7)] * LANES)
    with pytest.raises(LevellingError, match="Byte lane 0 .* does not read again"):
        start(twin, twin.wait)


# Over the link.

class Started(bytearray):
    """A memory that is written, and read, only while it is started."""

    def __init__(self, twin):
        super().__init__(CONFIG.memory_bytes)
        self._twin = twin

    def __setitem__(self, where, data):
        assert self._twin.started, "a write before the memory was started"
        super().__setitem__(where, data)


def board(windows=WINDOWS, config=CONFIG):
    """Return a twin of a memory, and the device that has it."""
    twin = Ddr3Twin(windows, time.monotonic)
    emulator = Emulator(config, FakeModel(FakeImage(), config), registers=twin)
    emulator.memory = Started(twin)
    return twin, emulator


def test_whoever_needs_the_memory_starts_it():
    twin, emulator = board()
    device, image = Device(InProcessTransport(emulator)), FakeImage()
    assert not twin.starts
    device.load(image)
    assert twin.started and device.start_memory() == tuple(WINDOWS) and twin.starts == 1
    assert bytes(emulator.memory[:len(image.payload)]) == image.payload
    assert [result.token for result in device.run([3, 4], 2, fresh=True)][:2] == [3, 4]


@pytest.mark.parametrize("use", [lambda device: device.write_memory(0, bytes(UNIT)),
                                 lambda device: device.memory_crc(0, UNIT)])
def test_a_test_of_the_memory_needs_it(use):
    twin, emulator = board()
    use(Device(InProcessTransport(emulator)))
    assert twin.started


def test_what_it_holds_stays_for_the_next_session():
    twin, emulator = board()
    Device(InProcessTransport(emulator)).load(FakeImage())
    device = Device(InProcessTransport(emulator))
    assert device.load(FakeImage()) == 0
    assert device.start_memory() == tuple(WINDOWS) and twin.starts == 1
    twin.windows[0] = Window(0, 3, 5)
    assert device.start_memory(anew=True)[0] == twin.windows[0] and twin.starts == 2


def test_weights_that_are_streamed_need_no_memory():
    twin, emulator = board([None] * LANES)
    device = Device(InProcessTransport(emulator))
    device.load(FakeImage(), streamed=True)
    assert list(device.run([3], 1, fresh=True)) and not twin.starts


def test_a_memory_that_does_not_level_can_be_tried_again():
    twin, emulator = board([None, Window(0, 0, 7)])
    device = Device(InProcessTransport(emulator))
    for _ in range(2):
        with pytest.raises(LevellingError, match="Byte lane 0"):
            device.load(FakeImage())
    twin.windows[0] = Window(2, 1, 5)
    assert device.load(FakeImage()) and twin.started


def test_registers_that_are_not_known():
    config = dataclasses.replace(CONFIG, memory_registers=7)
    _, emulator = board(config=config)
    with pytest.raises(DeviceError, match="has 7 registers, .* memories with 24: build"):
        Device(InProcessTransport(emulator)).load(FakeImage())


def test_a_list_of_devices_names_what_does_not_level(monkeypatch, capsys):
    monkeypatch.setattr(list_ports, "comports", lambda: [SimpleNamespace(
        device="/dev/null", vid=None, pid=None, product=None, serial_number=None)])
    for windows, code in ((WINDOWS, 0), ([Window(0, 0, 7), None], 4)):
        twin, emulator = board(windows)
        with Server(emulator) as server:
            monkeypatch.setattr(devices_module, "Device", SimpleNamespace(
                open=lambda uri, server=server, **options: Device.open(server.uri, **options)))
            assert run(["devices", "--ask", "--json"]) == code
        out, err = capsys.readouterr()
        (row,) = json.loads(out)
        assert row["board"]["memory_bytes"] == CONFIG.memory_bytes
        assert (row["board"]["unlevelled"] is None) == (code == 0)
    assert "serial:/dev/null: Byte lane 1 of the DDR3 memory reads what was written at none" in err
