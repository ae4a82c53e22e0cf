"""Bitstreams of boards, several at a time, and the reports that the sources keep of them.

Run it as ``python -m tritstream_hw.build.bitstreams [BOARD ...]``; without a board it builds all.
A board whose build fails loses no other its own. The exit code is that of a build that failed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tritstream.errors import BadInput, TritstreamError
from tritstream_hw.boards import TARGETS
from tritstream_hw.build.report import committed_report

__all__ = ["build_all", "main"]

BYTES_EACH = 2 << 30        # of memory, for Yosys or one nextpnr on the largest part
# One placement at a time for each of the boards under way: it takes a processor.
BUILD = sys.executable, "-m", "tritstream", "build", "--jobs", "1"


def build_all(boards: Sequence[str], command: Sequence[str], *, jobs: int,
              say: Callable[[str], None] = print) -> dict[str, int]:
    """Run a command for each board, and return their exit codes.

    Parameters
    ----------
    boards : sequence of str
        In the order in which they are begun.
    command : sequence of str
        What builds one, before its name.
    jobs : int
        Boards at a time.
    say : callable
        Called with each line that a command writes, behind the board's name.
    """
    width, turn = max(map(len, boards)), threading.Lock()

    def build(board: str) -> int:
        def tell(text: str) -> None:
            with turn:
                say(f"{board:{width}}  {text}")

        began = time.monotonic()
        with subprocess.Popen([*command, board], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace") as running:
            for line in running.stdout:
                tell(line.rstrip())
        code = running.returncode
        tell(f"{'done' if code == 0 else f'FAILED, exit code {code}'} after "
             f"{time.monotonic() - began:.0f} s")
        return code

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(boards, pool.map(build, boards), strict=True))


def _longest_first(boards: Sequence[str]) -> list[str]:
    """Return boards in the order of the time that they took last, those of unknown time first."""
    def seconds(board: str) -> float:
        report = committed_report(board)
        return sum(report.seconds.values()) if report else float("inf")

    return sorted(boards, key=seconds, reverse=True)


def _jobs() -> int:
    """Return how many builds this machine has processors and memory for."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), memory // BYTES_EACH))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_hw.build.bitstreams",
                                     description=__doc__)
    parser.add_argument("boards", metavar="BOARD", nargs="*", help="default: all")
    parser.add_argument("--jobs", metavar="N", type=int,
                        help="boards at a time; default: as processors and memory allow")
    parser.add_argument("--reports", metavar="DIRECTORY", type=pathlib.Path,
                        default=pathlib.Path("bitstreams"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        if unknown := [board for board in options.boards if board not in TARGETS]:
            raise BadInput(f"There is no board {unknown[0]!r}: choose from {', '.join(TARGETS)}.")
        if options.jobs is not None and options.jobs < 1:
            raise BadInput(f"--jobs must be 1 or more, not {options.jobs}.")
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    codes = build_all(_longest_first(options.boards or list(TARGETS)),
                      [*BUILD, "--reports", str(options.reports)], jobs=options.jobs or _jobs(),
                      say=lambda text: print(text, flush=True))
    for board in (failed := [board for board, code in codes.items() if code]):
        print(f"error: {board} was not built (exit code {codes[board]})", file=sys.stderr)
    return max((codes[board] for board in failed), default=0)


if __name__ == "__main__":
    sys.exit(main())
