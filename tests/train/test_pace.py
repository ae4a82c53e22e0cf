"""A run over some minutes has as many steps as fit."""

import itertools
import time

import pytest
import torch

from tritstream_train.optim.freeze import freezing
from tritstream_train.pace import Pace, steps_within

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Make `time.perf_counter` return what is in the list, the last entry."""
    times = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: times[-1])
    return times


@pytest.mark.parametrize(("before", "paces"), [
    (0, (2, 3)), (3, (2, 3)),   # whole
    (4, (2, 3)), (5, (3, 3)),   # resumed: from the first step on that the process has done
    (6, (3, 3)), (7, (9, 9))])  # no other one: over the whole run, of which 42 seconds were before
def test_steps_are_timed_without_counting_and_with_it(clock, before, paces):
    """Of 8 steps, 2 seconds each, 3 where changes are counted; the first takes ten times that."""
    pace = Pace(8, True, 42.0, CPU)
    for step in range(before, 8):
        counts = freezing(step, None, 8, 0.5)["allowed"] is not None
        clock.append(clock[-1] + (3 if counts else 2) * (10 if step == before else 1))
        if step < 7:
            pace.mark(step + 1)
            clock.append(clock[-1] + 100)       # a checkpoint
            pace.pause(100)
    assert pace.measure(8) == paces


def test_without_freezing_all_of_the_half_is_timed(clock):
    pace = Pace(8, False, 0.0, CPU)
    for step, seconds in enumerate([9, 9, 9, 9, 1, 2, 3], 1):
        clock.append(clock[-1] + seconds)
        pace.mark(step)
    clock.append(clock[-1] + 4)
    assert pace.measure(8) == (2.5, 2.5)


@pytest.mark.parametrize(("paces", "share"), [((2, 3), 0.5), ((2, 3), 0), ((2, 3), 1),
                                              ((2, 2), 0.25), ((2, 3), 0.98), ((5, 1), 0.5)])
@pytest.mark.parametrize("seconds", [1000, 10_000])
def test_the_steps_take_the_time_there_is(paces, share, seconds):
    step = 30
    total = steps_within(seconds, step, paces, share)
    taken = itertools.accumulate(
        paces[freezing(one, total, step, share)["allowed"] is not None]
        for one in range(step, total))
    assert list(taken)[-1] == pytest.approx(seconds, abs=max(paces))


def test_one_step_is_left_at_least():
    assert steps_within(-5, 30, (1, 1), 0.5) == 31
