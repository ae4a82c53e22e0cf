"""Fuzzing by hand: ``python -m tritstream_sim.fuzz --help``."""

import argparse
import pathlib
import sys
import tempfile
import time

from tritstream_sim.fuzz.checkpoints import checkpoints
from tritstream_sim.fuzz.frames import frames
from tritstream_sim.fuzz.images import images
from tritstream_sim.fuzz.run import Target, run
from tritstream_sim.fuzz.sessions import sessions

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {"checkpoints": checkpoints, "frames": frames, "images": images,
                             "sessions": sessions}
"""What is tried, by name."""


def main() -> int:
    """Run the targets that are asked for; 1 if there is a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tritstream_sim.fuzz", allow_abbrev=False,
        description="Tries inputs that nobody would write: each has to be refused with a "
                    "sentence, or to mean the same to every device.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=sorted(TARGETS),
                        help=f"{', '.join(sorted(TARGETS))}; default: all")
    parser.add_argument("-n", "--cases", type=int, default=1000, help="of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="repeat one case by its number")
    given = parser.parse_args()
    for name in given.targets:
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}: take {', '.join(sorted(TARGETS))}")
    cases = range(given.cases) if given.case is None else [given.case]
    faults = 0
    for name in given.targets:
        faults += len(_run(name, cases, given.seed))
    return 1 if faults else 0


def _run(name: str, cases, seed: int) -> dict[int, str]:
    began = time.perf_counter()
    # In memory where there is such a place: every case is written and flushed.
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        verdict = run(name, TARGETS[name], cases, seed, pathlib.Path(directory))
    total = sum(verdict.outcomes.values())
    print(f"{name}: {total} cases of seed {seed} in {time.perf_counter() - began:.0f} s, "
          f"{len(verdict.faults)} faults")
    for outcome, count in verdict.outcomes.most_common():
        print(f"  {count:8} {outcome}")
    for number, trace in verdict.faults.items():
        print(f"{name}, case {number} of seed {seed} (repeat it with --case {number}):\n{trace}")
    return verdict.faults


if __name__ == "__main__":
    sys.exit(main())
