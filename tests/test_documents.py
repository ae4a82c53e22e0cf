"""The commands that the documents show do what they say."""

import pathlib
import re
import shlex
import subprocess

import pytest

from tritstream.cli import run

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = list(dict.fromkeys(
    line for document in DOCUMENTS
    for line in re.findall(r"^\$ ([^#\n]*[^#\s])", document.read_text(), re.MULTILINE)))
OURS = [line for line in COMMANDS if line.startswith("tritstream ")]


def _marks(command):
    return [pytest.mark.verilator] if "--device sim" in command else []


def test_there_are_commands():
    assert len(OURS) >= 5
    assert "make demo" in COMMANDS


@pytest.mark.parametrize("command", [pytest.param(c, marks=_marks(c)) for c in OURS])
def test_command_of_the_documents(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(command)[1:]) == 0, capfd.readouterr().err
    assert capfd.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_target_of_the_documents(command):
    subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("program", [
    program for document in DOCUMENTS
    for program in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S)])
def test_program_of_the_documents(program):
    exec(compile(program, "program", "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
