"""Mutation testing: breaks the sources on purpose, one place at a time, and expects a test to fail.

``python -m tritstream_sim.mutation.mutants`` works on copies; the checkout is not touched.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from tritstream.errors import BadInput, TritstreamError
from tritstream_sim.mutation.faults import MUTANTS
from tritstream_sim.mutation.mutant import Mutant

__all__ = ["Outcome", "check", "main", "progress", "run", "select", "table"]

ROOT = pathlib.Path(__file__).resolve().parents[3]
COPIED = ("hw/tritstream_hw", "sw/tritstream", "sim/tritstream_sim", "tests", "pyproject.toml")
SURVIVED = "**survived**"
PATIENCE = 900      # seconds for the tests of a mutant; who hangs is caught, too


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a mutant: whether it was caught, and the first failure."""

    mutant: Mutant
    caught: bool
    reason: str

    @property
    def notice(self) -> str:
        """The test that noticed, or that none did."""
        return self.reason.split(":")[0] if self.caught else SURVIVED


def _copy(directory: pathlib.Path):
    if not (ROOT / "pyproject.toml").is_file():
        raise BadInput(f"Mutants need a checkout with its tests, and {ROOT} is none; "
                       "run them from a clone.")
    for name in COPIED:
        source, target = ROOT / name, directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    # Verilator's runtime takes longer to compile than most models, and no mutant is in it.
    cache = directory / "build" / "sim"
    cache.mkdir(parents=True)
    for runtime in (ROOT / "build" / "sim").glob("runtime-*"):
        (cache / runtime.name).symlink_to(runtime)


def _pytest(directory: pathlib.Path, nodes: Iterable[str], seed: int,
            patience: int = PATIENCE) -> tuple[int | None, str]:
    """Run pytest in a copy; return its status, or none if it did not end, and the first failure."""
    results = directory / "results.xml"
    paths = [str(directory / name) for name in ("sw", "hw", "sim")]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
               "--seed", str(seed), "--junitxml", str(results), *nodes]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(command, cwd=directory, env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    try:
        output, _ = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)        # the simulator is a child of this child
        child.wait()
        return None, f"no end within {patience} s"
    return child.returncode, _first_failure(results) or output[-1500:]


def _first_failure(results: pathlib.Path) -> str:
    if not results.exists():
        return ""
    for case in ElementTree.parse(results).iter("testcase"):
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                return f"{case.get('name')}: {found.get('message', '').splitlines()[0]}"
    return ""


def _try(mutant: Mutant, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        directory = pathlib.Path(name)
        _copy(directory)
        mutant.apply(directory)
        status, reason = _pytest(directory, mutant.nodes, seed)
    if status not in (None, 0, 1):
        raise TritstreamError(f"The tests of mutant {mutant.name} did not run (pytest ended with "
                              f"status {status}); mend the list: {reason}")
    return Outcome(mutant, status != 0, reason if status != 0 else "survived")


def check(mutants: Sequence[Mutant]):
    """Raise `BadInput` if a mutant does not fit the sources, or two have the same name."""
    names = [mutant.name for mutant in mutants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadInput(f"Two mutants are called {sorted(twice)[0]}; rename one.")
    for mutant in mutants:
        with tempfile.TemporaryDirectory(prefix="mutant-") as name:
            target = pathlib.Path(name) / mutant.file
            if (ROOT / mutant.file).is_file():
                target.parent.mkdir(parents=True)
                shutil.copy(ROOT / mutant.file, target)
            mutant.apply(pathlib.Path(name))


def run(mutants: Sequence[Mutant], *, jobs: int = 1, seed: int = 1,
        report=lambda outcome: None) -> list[Outcome]:
    """Try mutants, after their tests have passed without any.

    Parameters
    ----------
    mutants : sequence of Mutant
        In the order of the outcomes.
    jobs : int
        So many at a time.
    seed : int
        Of everything random in the tests.
    report : callable
        Called with each outcome as it comes.

    Raises
    ------
    TritstreamError
        If a mutant does not fit the sources, or the tests fail without one.
    """
    check(mutants)
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        directory = pathlib.Path(name)
        _copy(directory)
        nodes = dict.fromkeys(node for mutant in mutants for node in mutant.nodes)
        status, reason = _pytest(directory, nodes, seed, PATIENCE * (1 + len(mutants) // 20))
    if status != 0:
        raise TritstreamError(f"The tests fail without any mutant; mend them first: {reason}")

    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_try, mutant, seed) for mutant in mutants]
        for future in concurrent.futures.as_completed(futures):
            outcome = future.result()
            outcomes[outcome.mutant.name] = outcome
            report(outcome)
    return [outcomes[mutant.name] for mutant in mutants]


def table(tried: Sequence[tuple[Mutant, str]]) -> str:
    """Return a Markdown table of mutants and what noticed each."""
    lines = ["| mutant | what it does | file | noticed by |", "|---|---|---|---|"]
    for mutant, notice in tried:
        lines.append(f"| {mutant.name} | {mutant.what} | `{mutant.file}` | {notice} |")
    caught = sum(notice != SURVIVED for _, notice in tried)
    return "\n".join([f"{caught} of {len(tried)} mutants are caught.", "", *lines, ""])


def _arguments(arguments):
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.mutation.mutants",
                                     description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="this mutant, or all of a block; may be repeated")
    parser.add_argument("--list", action="store_true", help="show the names and do nothing")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE",
                        help="write the outcome there, as Markdown")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at a time")
    parser.add_argument("--seed", type=int, default=1, help="of everything random in the tests")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs is at least 1")
    return options


def select(mutants: Sequence[Mutant], names: Sequence[str] | None) -> list[Mutant]:
    """Return the mutants of these names, or of these blocks; all if there are none.

    Raises
    ------
    BadInput
        If there is no such mutant.
    """
    if not names:
        return list(mutants)
    chosen = [mutant for mutant in mutants
              if any(mutant.name == name or mutant.name.startswith(f"{name}.") for name in names)]
    if not chosen:
        raise BadInput(f"There is no mutant {' or '.join(names)}; --list shows all.")
    return chosen


def progress(outcome: Outcome):
    """Print an outcome as it comes."""
    verdict = "caught  " if outcome.caught else "SURVIVED"
    print(f"{verdict} {outcome.mutant.name}: {outcome.reason[:160]}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 0 if all are caught, 1 if one survives, 2 on bad input."""
    options = _arguments(arguments)
    try:
        mutants = select(MUTANTS, options.only)
        if options.list:
            print("\n".join(f"{mutant.name}: {mutant.what}" for mutant in mutants))
            return 0
        outcomes = run(mutants, jobs=options.jobs, seed=options.seed, report=progress)
    except TritstreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.report:
        options.report.write_text(table([(outcome.mutant, outcome.notice)
                                         for outcome in outcomes]))
    caught = sum(outcome.caught for outcome in outcomes)
    print(f"{caught} of {len(outcomes)} mutants caught")
    return 0 if caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
