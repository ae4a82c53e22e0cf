"""How many steps fit in the minutes of a run."""

import itertools
import time

import torch

from tritstream_train.optim.freeze import counted_from

__all__ = ["Pace", "steps_within"]


class Pace:
    """Times the second half of the warm-up.

    In runs that freeze weights, changes of trits are counted in its last quarter already, for steps
    in which they are take longer (`tritstream_train.optim.freeze`). A process that resumes a run in
    there times what is left.

    Parameters
    ----------
    warmup : int
        Steps of the warm-up, at least 4.
    freezes : bool
        Whether weights are to freeze.
    before : float
        Seconds that the run has taken in other processes.
    device : torch.device
        What computes.
    """

    def __init__(self, warmup: int, freezes: bool, before: float, device: torch.device):
        self._half = warmup // 2
        self._counted = counted_from(warmup) if freezes else warmup
        self._device = device
        self._paused = 0.0
        self._start = 0, self._now() - before
        self._marks = []

    def pause(self, seconds: float):
        """Note time that went to something else than steps."""
        self._paused += seconds

    def mark(self, step: int):
        """Note when a step was done, if that matters; to be called behind every step."""
        resumed = not self._marks and step > self._half
        if resumed or step in (self._half, self._counted):
            self._marks.append((step, self._now()))

    def measure(self, step: int) -> tuple[float, float]:
        """Seconds of a step without counting and with it, at the end of the warm-up.

        If only its last step was left to this process, which is slower than others because it is
        the process's first, that is the mean over the whole run.
        """
        marks = [*(self._marks or [self._start]), (step, self._now())]
        paces = [(done - since) / (last - first)
                 for (first, since), (last, done) in itertools.pairwise(marks)]
        return paces[0], paces[-1]

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - self._paused


def steps_within(seconds: float, step: int, paces: tuple[float, float], share: float) -> int:
    """Steps of a run, at least one more than are done.

    The few steps in which weights freeze, and not only count, take longer still; that is left out.

    Parameters
    ----------
    seconds : float
        Left for steps.
    step : int
        Steps done, those of the warm-up.
    paces : tuple
        From `Pace.measure`.
    share : float
        Of all steps, the last ones, in which weights freeze.
    """
    plain, counting = paces
    total = (seconds + step * plain) / ((1 - share) * plain + share * counting)
    if total * (1 - share) < step:              # weights freeze from here on
        total = step + seconds / counting
    return int(max(step + 1, total))
