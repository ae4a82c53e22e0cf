"""The command line as a process: its standard streams, its signals, and how it ends."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

from tritstream.cli.app import run
from tritstream.errors import INTERRUPTED

__all__ = ["repair_streams", "run_process"]

ENDING = (signal.SIGTERM, signal.SIGHUP)        # what a user or a scheduler ends a program with


class _Terminated(BaseException):
    """A signal that ends the program, as an exception, so that what it was writing is removed."""


class _Notes(io.FileIO):
    """Standard error, in which a note that cannot be written is lost, and nothing else."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def run_process(arguments: Sequence[str], interrupt: Callable | int | None) -> None:
    """Run the command line, and end the process with its exit code or by the signal that came.

    `interrupt` is what Ctrl-C does from the start of the verb on. An exception in the middle of
    an import before it may be lost in a callback, or come out as another one.
    """
    repair_streams()
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:      # what is ignored stays so, as in nohup
            signal.signal(number, _terminate)
    try:
        code = run(arguments, loaded=lambda: signal.signal(signal.SIGINT, interrupt))
    except KeyboardInterrupt:               # before the command line heeds it
        code = INTERRUPTED
    except _Terminated as signalled:
        (number,) = signalled.args
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    sys.exit(code)


def _terminate(number: int, frame) -> None:
    raise _Terminated(number)


def repair_streams() -> None:
    """Give the process three streams, whatever it was started with.

    A stream that was closed is replaced, or the next file that is opened would take its number.
    Results that cannot be written are an error; of notes that cannot, nobody is told.
    """
    while (number := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass                            # to write to it fails, as it would if it were closed
    os.close(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Notes(2, "w", closefd=False)), encoding,
                                  line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")    # a terminal without a letter gets a question mark
