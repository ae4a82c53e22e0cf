"""How many steps fit in the minutes of a run."""

import time

import torch

from tritstream_train.freeze import counted_from

__all__ = ["Pace", "steps_within"]


class Pace:
    """Times the second half of the warm-up.

    In the last quarter changes of trits are counted already (`tritstream_train.freeze`), for steps
    in which they are take longer. A process that resumes a run in there times what is left.

    Parameters
    ----------
    warmup : int
        Steps of the warm-up, at least 4.
    device : torch.device
        What computes.
    """

    def __init__(self, warmup: int, device: torch.device):
        self._half, self._counted = warmup // 2, counted_from(warmup)
        self._device = device
        self._began = self._now()
        self._marks = []

    def mark(self, step: int):
        """Note when a step was done, if that matters; to be called behind every step."""
        resumed = not self._marks and step > self._half
        if resumed or step in (self._half, self._counted):
            self._marks.append((step, self._now()))

    def measure(self, step: int) -> tuple[float, float]:
        """Seconds of a step without counting and with it, at the end of the warm-up."""
        marks = [*(self._marks or [(step - 1, self._began)]), (step, self._now())]
        paces = [(done - since) / (last - first)
                 for (first, since), (last, done) in zip(marks, marks[1:], strict=False)]
        return paces[0], paces[-1]

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def steps_within(seconds: float, step: int, paces: tuple[float, float], share: float) -> int:
    """Steps of a run, at least one more than are done.

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
