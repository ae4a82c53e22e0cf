"""What a board shows of itself, and which faults of it are named."""

import dataclasses
import json
import re
import time

import pytest

from tritstream.analysis.check import Verdict
from tritstream.analysis.selftest import examine
from tritstream.build import BuildConfig
from tritstream.cli.app import run
from tritstream.ddr3.levelling import Window
from tritstream.ddr3.registers import WORDS
from tritstream.driver import Device
from tritstream.flash import Stored
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.transport import Faults
from tritstream_sim.twin.ddr3 import Ddr3Twin
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import GoldenBoard
from tritstream_sim.twin.in_process import InProcessTransport

CONFIG = BuildConfig(memory_bytes=1 << 16, max_hidden=64, max_intermediate=64, max_state=64,
                     max_vocab=64, clock_hz=50_000_000, link_rate=100_000)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    model = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
    return pack(DummyCheckpoint(model, seed=1), tmp_path_factory.mktemp("model") / "small.trit")


class Timed(InProcessTransport):
    """An emulator whose time is told, as a board's is, and whose passes take that."""

    def clock(self):
        return self.now()


class Memory(bytearray):
    """A memory with a fault: what it does to what is written, and where that is written too."""

    def __init__(self, size, change=lambda data: data, alias=0):
        super().__init__(size)
        self._change, self._alias = change, alias

    def __setitem__(self, where, data):
        for start in {where.start, where.start ^ self._alias}:
            super().__setitem__(slice(start, start + len(data)), self._change(data))


def examined(image, config=CONFIG, *, memory=None, fault=None, faults=None, rate=110_000,
             transport=Timed):
    """Return the verdicts by name, and what was found."""
    board = Emulator(config, GoldenBoard(image, config, fault))
    if memory is not None:
        board.memory = memory

    def connect(part):
        return Device(transport(board, rate=rate, faults=faults, seed=1))

    checks = list(examine(connect, [image], seconds=1))
    return ({check.name: check.verdict for check in checks},
            {check.name: check.found for check in checks})


def test_a_board_passes(image):
    verdicts, found = examined(image)
    # An emulator's passes take no time.
    assert verdicts.pop("clock") is Verdict.FAIL
    assert set(verdicts.values()) == {Verdict.PASS}
    assert set(verdicts) == {"link", "rate to it", "rate from it", "token", "data lines",
                             "address lines", "memory"}
    assert "12 places up to byte 65,472 are different ones" in found["address lines"]
    assert re.match(r"100.00% of 65,536 bytes, in \d+ pieces", found["memory"])


def test_a_slow_link_fails(image):
    verdicts, found = examined(image, rate=50_000)
    assert verdicts["rate to it"] is verdicts["rate from it"] is Verdict.FAIL
    assert re.search(r"4\d\.\d% of 100,000", found["rate to it"])


def test_a_bad_cable_fails(image):
    verdicts, found = examined(image, faults=Faults(flip=1e-3))
    assert verdicts["link"] is Verdict.FAIL
    assert re.search(r"of \d+ frames [1-9]\d* were damaged", found["link"])


def test_a_wrong_number_fails(image):
    verdicts, found = examined(image, fault=lambda position, stage, vector: vector + (stage == 3))
    assert verdicts["token"] is Verdict.FAIL
    assert "token 1 has digest" in found["token"] and "tritstream verify" in found["token"]


def test_a_stuck_data_line_is_named(image):
    def stuck(data):
        return bytes(byte | 4 if place % 2 else byte for place, byte in enumerate(data))

    verdicts, found = examined(image, memory=Memory(CONFIG.memory_bytes, stuck))
    assert verdicts["token"] is verdicts["data lines"] is verdicts["memory"] is Verdict.FAIL
    assert "does not hold what was written" in found["token"]
    assert found["data lines"].startswith("bit 10 of every 16 is stuck at 1")


@pytest.mark.parametrize("size, first, second", [(2, 0, 1), (4, 1, 2), (8, 3, 7)])
def test_byte_lanes_in_each_other_s_place_are_named(image, size, first, second):
    def exchanged(data):
        changed = bytearray(data)
        changed[first::size], changed[second::size] = data[second::size], data[first::size]
        return bytes(changed)

    verdicts, found = examined(image, memory=Memory(CONFIG.memory_bytes, exchanged))
    assert verdicts["data lines"] is verdicts["memory"] is Verdict.FAIL
    assert found["data lines"].startswith(
        f"bytes {first} and {second} of every {size} are exchanged: look at those byte lanes")


def test_a_missing_address_line_is_found(image):
    verdicts, found = examined(image, memory=Memory(CONFIG.memory_bytes, alias=1 << 15))
    assert verdicts["data lines"] is Verdict.PASS
    assert verdicts["address lines"] is verdicts["memory"] is Verdict.FAIL
    assert "byte 0 holds what was written to byte 32,768" in found["address lines"]


def test_a_board_without_memory(image):
    verdicts, found = examined(image, dataclasses.replace(CONFIG, memory_bytes=0))
    assert verdicts["memory"] is Verdict.SKIP and "weights are sent" in found["memory"]
    assert "data lines" not in verdicts


@pytest.mark.parametrize("found, code, line", [
    (Stored.LOADED, 0, "PASS  flash +the model in the flash memory is in the memory"),
    (Stored.NOTHING, 0, "SKIP  flash +the flash memory holds no model: `tritstream program"),
    (Stored.DAMAGED, 1, "FAIL  flash +the model in the flash memory is damaged: store it again"),
    (Stored.TOO_LARGE, 1, "FAIL  flash +the model in the flash memory is larger than the memory"),
    (77, 1, "FAIL  flash +.* says 77 of its flash memory: its bitstream does not match"),
])
def test_what_the_flash_memory_held_is_told(image, capsys, found, code, line):
    config = dataclasses.replace(CONFIG, flash_offset=1 << 22)
    board = Emulator(config, GoldenBoard(image, config))
    board.found = int(found)
    with Server(board) as server:
        assert run(["selftest", "--device", server.uri, "--seconds", "1"]) == code
    assert re.search(f"^{line}", capsys.readouterr().out, re.MULTILINE)


def test_the_margins_of_a_ddr3_memory(image, capsys):
    config = dataclasses.replace(CONFIG, memory_registers=sum(WORDS.values()))
    for windows, code in (([Window(0, 2, 6), Window(3, 1, 4)], 0),
                          ([Window(0, 2, 6), Window(3, 4, 5)], 1), ([None, Window(0, 0, 7)], 4)):
        board = Emulator(config, GoldenBoard(image, config),
                         registers=Ddr3Twin(windows, time.monotonic))
        with Server(board) as server:
            assert run(["selftest", "--device", server.uri, "--seconds", "1"]) == code
        out, err = capsys.readouterr()
        if code == 4:
            assert re.search("Byte lane 0 .* none of 4 bitslips and 8 delays", err)
            assert "byte lane" not in out
        else:
            assert re.search(r"^PASS  byte lane 0 +read at bitslip 0 and delay 4; right from 2 to "
                             "6, a margin of 2$", out, re.MULTILINE)
            assert re.search(f"^{'FAIL' if code else 'PASS'}  byte lane 1 .* a margin of "
                             f"{1 - code}$", out, re.MULTILINE)
            assert re.search("^PASS  memory", out, re.MULTILINE)
    assert "does not pass" not in err


class Silent(InProcessTransport):
    """A cable at whose end nothing answers."""

    def read(self, timeout):
        self._now += timeout + 1e-3
        return b""


@pytest.mark.parametrize("part", [1 / 2, 4 / 3, None])
def test_a_board_at_another_clock_answers_at_another_rate(image, part):
    board = Emulator(CONFIG, GoldenBoard(image, CONFIG))

    def connect(tried):
        return Device((Timed if tried == part else Silent)(board), dead_seconds=1)

    link, *others = examine(connect, [image], seconds=1)
    assert link.verdict is Verdict.FAIL and "its PLL does not lock" in link.found
    if part is None:
        assert not others
    else:
        (clock,) = others
        assert clock.value == part and f"runs at {part:.3g} times" in clock.found


def test_the_command_line(image, capsys):
    board = Emulator(CONFIG, GoldenBoard(image, CONFIG))
    with Server(board) as server:
        assert run(["selftest", "--device", server.uri, "--seconds", "1", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["passed"] and result["device"] == server.uri
        verdicts = {check["name"]: check["verdict"] for check in result["checks"]}
        assert verdicts["token"] == verdicts["memory"] == "PASS"
        assert verdicts["clock"] == verdicts["rate to it"] == "SKIP"
        board.memory = Memory(CONFIG.memory_bytes, lambda data: bytes(len(data)))
        assert run(["selftest", "--device", server.uri, "--seconds", "1"]) == 1
    out, err = capsys.readouterr()
    assert re.search("^FAIL  data lines", out, re.MULTILINE)
    assert "does not pass: token, data lines, address lines, memory" in err


@pytest.mark.parametrize("arguments, sentence", [
    (["--device", "golden"], "golden is no board"),
    (["--device", "sim", "--seconds", "0"], "must be 1 to 86,400, not 0"),
])
def test_what_cannot_be_tested(arguments, sentence, capsys):
    assert run(["selftest", *arguments]) == 2
    assert sentence in capsys.readouterr().err
