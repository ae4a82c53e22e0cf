"""How long to stay with the same conversations where their states have a way to go."""

import contextlib
import math
import time

__all__ = ["Pace"]

SHARE = 0.05                # of the time that the ways of states may take
MEMORY = 8                  # of what comes, how many of the latest count
MOST = 1_024                # steps
FIRST = 16                  # steps, as long as no state has gone anywhere
AHEAD_SECONDS = 0.05        # that a command has to take for the way of the next not to matter


class Pace:
    """Compares what it takes to move a state with what a step takes, as both are seen.

    Parameters
    ----------
    lanes : int
        Conversations of a step.
    """

    def __init__(self, lanes: int):
        self._lanes = lanes
        self._move = self._step = 0.0       # seconds
        self._moved = 0.0                   # in all

    @property
    def quantum(self) -> int:
        """Steps for which all lanes stay with their conversations."""
        if not (self._move and self._step):
            return FIRST
        exchange = 2 * self._lanes * self._move         # one goes and another comes
        return max(1, min(math.ceil(exchange / self._step / SHARE), MOST))

    @property
    def ahead(self) -> int:
        """Steps that it pays to ask for with one command."""
        if not self._step:
            return 1
        return max(1, min(math.floor(AHEAD_SECONDS / self._step), MOST))

    @contextlib.contextmanager
    def move(self):
        """Watch a state on its way."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self._moved += seconds
        self._move = _mean(self._move, seconds)

    @contextlib.contextmanager
    def step(self):
        """Watch a step, of which the ways of states are no part."""
        began, moved = time.perf_counter(), self._moved
        yield
        seconds = time.perf_counter() - began - (self._moved - moved)
        self._step = _mean(self._step, seconds)


def _mean(mean: float, latest: float) -> float:
    return mean + (latest - mean) / MEMORY if mean else latest
