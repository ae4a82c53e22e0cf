"""The mutation framework: its list fits the sources, and it tells caught from survived."""

import subprocess
import sys

import pytest

from tritstream.errors import BadInput, TritstreamError
from tritstream_sim.mutation import mutants
from tritstream_sim.mutation.faults import MUTANTS
from tritstream_sim.mutation.mutant import Mutant


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of one function and one test, in place of the real one."""
    files = {
        "pyproject.toml": "",
        "hw/tritstream_hw/__init__.py": "def double(x):\n    return x + x\n",
        "sw/tritstream/__init__.py": "",
        "sim/tritstream_sim/__init__.py": "",
        "tests/conftest.py": "def pytest_addoption(parser):\n    parser.addoption('--seed')\n",
        "tests/test_double.py": "from tritstream_hw import double\n\n"
                                "def test_two():\n    assert double(2) == 4\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


def fault(new: str, *, old: str = "x + x", tests: str = "tests/test_double.py") -> Mutant:
    """Return a mutant of the small checkout."""
    return Mutant("double.sum", "does not double", "hw/tritstream_hw/__init__.py", old, new, tests)


def test_every_mutant_of_the_list_fits_the_sources():
    mutants.check(MUTANTS)


def test_every_test_of_the_list_exists(request):
    """As pytest collects them: a name or a parameter that is no more would stop `make mutants`."""
    nodes = sorted({node for mutant in MUTANTS for node in mutant.nodes})
    done = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p",
                           "no:cacheprovider", *nodes], cwd=request.config.rootpath,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_fault_is_caught_and_the_checkout_untouched(checkout):
    [outcome] = mutants.run([fault("x + x + 1")])
    assert outcome.caught
    assert outcome.reason.startswith("test_two: ")
    assert "x + x\n" in (checkout / "hw/tritstream_hw/__init__.py").read_text()
    assert "1 of 1 mutants are caught." in mutants.table([(outcome.mutant, outcome.notice)])


def test_a_fault_that_no_test_sees_survives(checkout):
    [outcome] = mutants.run([fault("x * x")])
    assert not outcome.caught
    assert "**survived**" in mutants.table([(outcome.mutant, outcome.notice)])


@pytest.mark.parametrize("old, new, problem", [
    ("x - x", "0", "occurs 0 times"),
    ("x", "0", "occurs 3 times"),
    ("x + x", "x + x", "changes nothing"),
])
def test_a_mutant_that_does_not_fit_is_an_error(checkout, old, new, problem):
    with pytest.raises(BadInput, match=problem):
        mutants.run([fault(new, old=old)])


def test_a_name_is_used_once(checkout):
    with pytest.raises(BadInput, match="Two mutants are called double.sum"):
        mutants.run([fault("0"), fault("1")])


def test_a_missing_file_is_an_error(checkout):
    (checkout / "hw/tritstream_hw/__init__.py").unlink()
    with pytest.raises(BadInput, match="there is no file"):
        mutants.run([fault("0")])


def test_tests_that_fail_without_a_mutant_are_an_error(checkout):
    (checkout / "tests/test_double.py").write_text("def test_two():\n    assert False\n")
    with pytest.raises(TritstreamError, match="fail without any mutant"):
        mutants.run([fault("0")])


def test_command_line(capsys):
    assert mutants.main(["--list", "--only", "topk"]) == 0
    assert "topk.tie: " in capsys.readouterr().out
    assert mutants.main(["--only", "nonsense"]) == 2
    assert "There is no mutant nonsense" in capsys.readouterr().err
