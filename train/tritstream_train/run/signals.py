"""Signals that end a run between two steps, instead of in the middle of one."""

import signal
import threading
import time
from pathlib import Path

from tritstream.errors import TritstreamError

__all__ = ["Stopped", "Stopping"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)       # Ctrl-C; what schedulers send before they kill
ONCE_S = 1.0                # `timeout` sends its signal twice, to the process and to its group


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

    Python hands signals to the main thread alone, so in others this does nothing; nor does it heed
    signals that the process was started to ignore, as shells start what is in the background.

    Attributes
    ----------
    asked : signal.Signals or None
        The signal that came.
    """

    def __init__(self):
        self.asked = None
        self._heed = threading.current_thread() is threading.main_thread()
        self._before = {}
        self._since = 0.0

    def __enter__(self) -> "Stopping":
        for number in SIGNALS if self._heed else ():
            # None is a handler that is not Python's, which could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
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
