"""Inputs that nobody would write, by the thousand; `make fuzz` tries many more."""

import collections
import contextlib
import random

import pytest

from tritstream.errors import BadInput, Mismatch
from tritstream_sim.fuzz.__main__ import SHARES, TARGETS
from tritstream_sim.fuzz.run import run
from tritstream_sim.fuzz.values import mutated_json

CASES = {name: round(10_000 * share) for name, share in SHARES.items()}

PARTS = 2                   # of each target, for as many cores
SLOW = {"images": [pytest.mark.verilator]}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, [])) for name in CASES])
def test_no_input_is_a_fault_of_the_program(name, part, seed, tmp_path, request):
    cases = range(part, CASES[name], PARTS)
    print(f"{name}, seed {seed}")
    verdict = run(name, TARGETS[name], cases, seed, tmp_path,
                  cache=request.config.rootpath / "build" / "sim")
    assert not verdict.faults, "\n".join(
        f"case {number}: {trace}" for number, trace in verdict.faults.items())
    assert sum(verdict.outcomes.values()) == len(cases)
    # A target of which every case ends alike tries nothing.
    assert len(verdict.outcomes) > 1, verdict.outcomes


def target(case):
    """Make a target of a function."""
    @contextlib.contextmanager
    def opened(directory, cache):
        yield case

    return opened


def test_a_case_follows_from_its_number_and_the_seed(tmp_path):
    def drawn(name, seed, cases):
        seen = []
        run(name, target(lambda rng: seen.append(rng.random()) or "drawn"), cases, seed, tmp_path)
        return seen

    first = drawn("a", 1, range(5))
    assert len(set(first)) == 5
    assert drawn("a", 1, [3]) == first[3:4]
    assert not {*first} & {*drawn("a", 2, range(5)), *drawn("b", 1, range(5))}


def test_faults_are_told_from_sentences(tmp_path):
    outcomes = [lambda: "fine", lambda: 1 / 0]

    def case(rng):
        kind = rng.randrange(4)
        if kind == 2:
            raise BadInput("no")
        if kind == 3:
            raise Mismatch("an exit code that no input has")
        return outcomes[kind]()

    verdict = run("a", target(case), range(12), 1, tmp_path)
    assert verdict.outcomes.keys() == {"fine", "fault", "exit 2", "exit 1"}
    assert len(verdict.faults) == verdict.outcomes["fault"] + verdict.outcomes["exit 1"]
    assert any("ZeroDivisionError" in trace for trace in verdict.faults.values())


def test_mutations_change_json_and_leave_the_original(seed):
    rng, table = random.Random(seed), {"a": [1, {"b": None}], "c": "x"}
    found = collections.Counter(str(mutated_json(rng, table)) for _ in range(300))
    assert table == {"a": [1, {"b": None}], "c": "x"}
    assert len(found) > 50
