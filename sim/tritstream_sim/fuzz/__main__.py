"""Fuzzing by hand: ``python -m tritstream_sim.fuzz --help``."""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterable

from tritstream_sim.fuzz.checkpoints import checkpoints
from tritstream_sim.fuzz.frames import frames
from tritstream_sim.fuzz.images import images
from tritstream_sim.fuzz.run import Target, Verdict, run
from tritstream_sim.fuzz.sessions import sessions

__all__ = ["SHARES", "TARGETS"]

TARGETS: dict[str, Target] = {"checkpoints": checkpoints, "frames": frames, "images": images,
                             "sessions": sessions}
"""What is tried, by name."""

SHARES = {"checkpoints": 0.2, "frames": 0.6, "images": 0.1, "sessions": 0.1}
"""How many of all cases each target gets: frames take the least time, images the most."""

CHUNK = 5000                # cases that a process tries at a time


def main() -> int:
    """Run the targets that are asked for; 1 if there is a fault."""
    given = _arguments()
    if given.case is not None:
        numbers = {name: [[given.case]] for name in given.targets}
    else:
        whole = sum(SHARES[name] for name in given.targets)
        numbers = {name: _chunks(round(given.cases * SHARES[name] / whole))
                   for name in given.targets}
    began = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(given.jobs) as pool:
        verdicts = {name: [pool.submit(_try, name, chunk, given.seed) for chunk in chunks]
                    for name, chunks in numbers.items()}
        faults = sum(_report(name, futures, given.seed) for name, futures in verdicts.items())
    total = sum(len(chunk) for chunks in numbers.values() for chunk in chunks)
    print(f"{total:,} cases in {time.perf_counter() - began:,.0f} s, {faults} faults")
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tritstream_sim.fuzz", allow_abbrev=False,
        description="Tries inputs that nobody would write: each has to be refused with a "
                    "sentence, or to mean the same to every device.")
    parser.add_argument("targets", nargs="*", metavar="TARGET",
                        help=f"{', '.join(sorted(TARGETS))}; default: all")
    parser.add_argument("-n", "--cases", type=int, default=10_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--case", type=int, help="repeat one case of a target by its number")
    given = parser.parse_args()
    given.targets = given.targets or sorted(TARGETS)
    for name in given.targets:
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}: take {', '.join(sorted(TARGETS))}")
    if given.cases < 1 or given.jobs < 1:
        parser.error("cases and jobs are at least 1")
    return given


def _chunks(cases: int) -> list[range]:
    return [range(start, min(start + CHUNK, cases)) for start in range(0, cases, CHUNK)]


def _try(name: str, cases: Iterable[int], seed: int) -> Verdict:
    # In memory where there is such a place: every case is written and flushed.
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        return run(name, TARGETS[name], cases, seed, pathlib.Path(directory))


def _report(name: str, futures: list[concurrent.futures.Future], seed: int) -> int:
    """Add up a target's verdicts as they come; return how many faults there are."""
    outcomes, faults = collections.Counter(), {}
    for future in concurrent.futures.as_completed(futures):
        verdict = future.result()
        outcomes += verdict.outcomes
        faults |= verdict.faults
        print(f"{name}: {outcomes.total():,} cases tried, {len(faults)} faults", file=sys.stderr,
              flush=True)
    print(f"{name}: {outcomes.total():,} cases of seed {seed}, {len(faults)} faults")
    for outcome, count in outcomes.most_common():
        print(f"  {count:9,} {outcome}")
    for number, trace in faults.items():
        print(f"{name}, case {number} of seed {seed} (repeat it with --case {number}):\n{trace}")
    sys.stdout.flush()
    return len(faults)


if __name__ == "__main__":
    sys.exit(main())
