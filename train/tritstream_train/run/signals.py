"""Signals that end a run between two steps, instead of in the middle of one."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tritstream.cli.console import notes
from tritstream.errors import TritstreamError

__all__ = ["Stopped", "Stopping"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)       # Ctrl-C; what schedulers send before they kill
ONCE_S = 1.0                # `timeout` sends its signal twice, to the process and to its group
GRACE_S = 0.5               # for Python to heed a second signal, before a thread does


class Stopped(TritstreamError):
    """A run was told to stop. It has a checkpoint of its last step, and can go on from there.

    Parameters
    ----------
    number : signal.Signals
        Who told it; the exit code is that of a program that the signal ended.
    step : int
        Steps done.
    directory : Path
        Of the run.
    """

    def __init__(self, number: signal.Signals, step: int, directory: Path):
        super().__init__(f"{number.name} stopped the run after step {step}, of which it has a "
                         f"checkpoint: go on with `tritstream train -o {directory} --resume`.")
        self.exit_code = 128 + number


class Stopping:
    """Context in which the first signal is only noted; one a second later has its usual effect.

    Python hears of a signal between two of its own instructions, and a step on a CPU may be a
    minute of somebody else's: a thread hears at once, says what will be, and ends the process if a
    second signal is not heeded. Python hands signals to the main thread alone, so in others this
    does nothing; nor does it heed signals that the process was started to ignore, as shells start
    what is in the background.

    Parameters
    ----------
    say : callable
        Takes a line about what will be.
    listens : bool
        Whether the thread is wanted: several processes have another one.

    Attributes
    ----------
    asked : signal.Signals or None
        The signal that came.
    """

    def __init__(self, say: Callable[[str], None], *, listens: bool = True):
        self.asked = None
        self._say = say
        self._heed = threading.current_thread() is threading.main_thread()
        self._listens = listens and self._heed
        self._before = {}
        self._since = 0.0
        self._left = threading.Event()
        self._writer = None

    def __enter__(self) -> "Stopping":
        for number in SIGNALS if self._heed else ():
            # None is a handler that is not Python's, which could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        if self._listens:
            reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._woken = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            threading.Thread(target=self._listen, args=(reader, frozenset(self._before)),
                             daemon=True).start()
        return self

    def __exit__(self, *error):
        self._left.set()
        if self._writer is not None:
            signal.set_wakeup_fd(self._woken)
            os.close(self._writer)
            self._writer = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame):
        now = time.monotonic()
        if self.asked is None:
            self.asked, self._since = signal.Signals(number), now
        elif now - self._since >= ONCE_S:
            self.__exit__()
            signal.raise_signal(number)

    def _listen(self, reader: int, heeded: frozenset[int]):
        """Wait for signals as long as the context lasts; in a thread."""
        with open(reader, "rb", buffering=0) as heard:
            number = self._next(heard, heeded)
            since = time.monotonic()
            while number and (left := since + ONCE_S - time.monotonic()) > 0:
                if select.select([heard], [], [], left)[0] and not heard.read(1):
                    return
            if number:
                self._say(f"{signal.Signals(number).name}: the run ends behind this step and a "
                          "checkpoint of it; a second signal ends it at once")
                number = self._next(heard, heeded)
            if number and not self._left.wait(GRACE_S):
                notes().print(f"error: {signal.Signals(number).name} ended the run in the middle "
                              "of a step: --resume goes on from its last checkpoint.")
                os._exit(128 + number)

    @staticmethod
    def _next(heard: BinaryIO, heeded: frozenset[int]) -> int | None:
        """Return the next signal of those that are heeded; None when the context is left."""
        while byte := heard.read(1):
            if byte[0] in heeded:
                return byte[0]
        return None
