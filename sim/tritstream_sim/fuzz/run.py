"""Many cases of a target, each of which can be repeated alone."""

import collections
import contextlib
import dataclasses
import pathlib
import random
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable

from tritstream.errors import TritstreamError, TritstreamWarning

__all__ = ["Case", "Target", "Verdict", "run"]

Case = Callable[[random.Random], str]
"""Makes one case, tries it, and says what came of it."""

Target = Callable[[pathlib.Path, pathlib.Path | None], contextlib.AbstractContextManager[Case]]
"""Opens what its cases share, given an empty directory and where builds are kept."""

EXIT_CODES = (2, 3, 4)
"""What a command may end in for a bad input: the codes that belong to a sentence."""

CASE_SECONDS = 60           # a case that takes longer waits for something that does not come

MOST_FAULTS = 10            # are shown; a run with more ends


@dataclasses.dataclass
class Verdict:
    """What came of a run.

    Parameters
    ----------
    outcomes : Counter
        How often a case ended in what.
    faults : dict of int to str
        The trace of each case that is a fault of the program, by its number.
    """

    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: dict[int, str] = dataclasses.field(default_factory=dict)


def run(name: str, target: Target, cases: Iterable[int], seed: int, directory: pathlib.Path,
        cache: pathlib.Path | None = None, show=lambda number: None) -> Verdict:
    """Try cases of a target.

    Parameters
    ----------
    name : str
        Of the target: cases of the same number differ from target to target.
    target : Target
        What to try.
    cases : iterable of int
        Numbers of the cases; each follows from its number and the seed alone.
    seed : int
        Of all cases.
    directory : Path
        An empty directory.
    cache : Path or None
        Where builds are kept; None: the user's cache.
    show : callable
        Called with the number of each case before it is tried.
    """
    verdict = Verdict()
    with warnings.catch_warnings(), target(directory, cache) as case:
        warnings.simplefilter("error")     # as pytest has it
        warnings.simplefilter("ignore", TritstreamWarning)
        for number in cases:
            show(number)
            rng = random.Random(f"{name} {seed} {number}")
            try:
                with _bounded(number):
                    outcome = case(rng)
            except TritstreamError as error:
                outcome = f"exit {error.exit_code}"
                if error.exit_code not in EXIT_CODES:
                    verdict.faults[number] = traceback.format_exc()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:   # whatever it is, a panic of Rust too: that is looked for
                outcome = "fault"
                verdict.faults[number] = traceback.format_exc()
            verdict.outcomes[outcome] += 1
            if len(verdict.faults) == MOST_FAULTS:
                break
    return verdict


@contextlib.contextmanager
def _bounded(number: int):
    """End a case that hangs; only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def alarm(signum, frame):
        raise AssertionError(f"case {number} takes more than {CASE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(CASE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
