"""What a run will take on a machine without a GPU: measured on a few tokens before it begins."""

import contextlib
import dataclasses
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from tritstream.cli.console import quantity
from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig, count_parameters
from tritstream_train.config import TrainConfig
from tritstream_train.optim.adamw import make_optimizer, set_rates

__all__ = ["Forecast", "duration", "forecast"]

FEW = 32                    # tokens that a measurement begins with; twice as many follow
MUCH = 4.0                  # times the first pass: that long is long enough
ENOUGH_S = 4.0              # for all passes
AGAIN_S = 1.0               # a pass that takes less is timed twice
STATES = 4                  # float32 for each weight: itself, its gradient, two of AdamW
COUNTS = 2                  # more for each of a run that freezes some


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a run takes.

    Parameters
    ----------
    step : float
        Seconds of a step.
    steps : int
        How many are left.
    memory : int
        Bytes for the process as it is, the weights, what belongs to them, and what a part of a step
        keeps for its backward pass: less than it will be in the end.
    """

    step: float
    steps: int
    memory: int

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.step * self.steps

    def __str__(self) -> str:
        return (f"{self.steps} steps of {self.step:.2g} s or so: {duration(self.seconds)} on this "
                f"machine's CPU, with {quantity(self.memory, 'B')} of memory at least")

    def check(self, config: TrainConfig):
        """Raise `BadInput` if the run takes too long, or more memory than there is."""
        if self.seconds > config.hours * 3600:
            raise BadInput(
                f"The run would take {self}, and {config.hours:g} hours are the limit: train on a "
                "GPU, give fewer --steps or a smaller model (--preset cpu is one), or, to train it "
                f"all the same, --hours {math.ceil(1.2 * self.seconds / 3600)}.")
        if self.memory > (there := _memory()):
            raise BadInput(
                f"The run takes {quantity(self.memory, 'B')} of memory at least, and this machine "
                f"has {quantity(there, 'B')}: give --accumulate {2 * config.accumulate}, by which "
                "a step is computed in parts, or a smaller --batch, --sequence or model.")


def forecast(config: TrainConfig, shape: ModelConfig, make: Callable[[], nn.Module], rows: int,
             steps: int) -> Forecast:
    """Time a few tokens and one update.

    Parameters
    ----------
    config : TrainConfig
        The run.
    shape : ModelConfig
        Of its model.
    make : callable
        Makes one, only to be tried.
    rows : int
        Windows of a step that this process computes.
    steps : int
        How many it has to do.
    """
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    states = 4 * count_parameters(shape) * (STATES + COUNTS * (config.freeze > 0))
    if base + states > _memory():               # not even the weights can be tried
        Forecast(0.0, steps, base + states).check(config)
    with torch.random.fork_rng(devices=[]):
        model = make()
        seconds, kept = _passes(model, rows // config.accumulate, config.sequence)
        optimizer = make_optimizer(model, config)
        set_rates(optimizer, 0.0, {})
        began = time.perf_counter()
        optimizer.step()
        update = time.perf_counter() - began
    return Forecast(config.accumulate * seconds + update, steps, base + states + int(kept))


def _passes(model: nn.Module, windows: int, length: int) -> tuple[float, float]:
    """Seconds and bytes of a pass over so many windows, from passes over a part of them.

    Both have a share that belongs to the weights and one that grows with the tokens: two passes
    tell them apart, if one is much longer than the other.
    """
    began = time.perf_counter()
    _timed(model, 1, 1)                         # the first pass of all starts threads
    whole, tokens = windows * length, min(FEW, length)
    first = last = (tokens, *_fastest(model, 1, tokens))
    while tokens < whole and (last is first or (
            last[1] < MUCH * first[1] and time.perf_counter() - began < ENOUGH_S)):
        count = max(1, 2 * tokens // length)
        tokens = min(count * min(2 * tokens, length), whole)
        last = (tokens, *_fastest(model, count, tokens // count))
    if tokens == whole:
        return last[1:]
    slopes = [(after - before) / (last[0] - first[0])
              for before, after in zip(first[1:], last[1:], strict=True)]
    seconds, kept = (before + max(slope, 0) * (whole - first[0])
                     for before, slope in zip(first[1:], slopes, strict=True))
    return seconds, kept


def _fastest(model: nn.Module, windows: int, length: int) -> tuple[float, int]:
    """The faster of two passes, if they do not take long: other programs delay one or the other."""
    found = _timed(model, windows, length)
    return min(found, _timed(model, windows, length)) if found[0] < AGAIN_S else found


def _timed(model: nn.Module, windows: int, length: int) -> tuple[float, int]:
    """Seconds of a pass forward and backward, and the bytes that it keeps between the two."""
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor
    text = torch.randint(model.config.vocab, (windows, length + 1))
    began = time.perf_counter()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(text[:, :-1], text[:, 1:])
    loss.backward()
    return time.perf_counter() - began, sum(kept.values())


def _memory() -> int:
    """Bytes of memory that there are for this process."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):      # a container may have less, or "max"
        there = min(there, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return there


def duration(seconds: float) -> str:
    """Write a time in its largest unit: seconds, minutes, hours, days or years."""
    for unit, size in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
