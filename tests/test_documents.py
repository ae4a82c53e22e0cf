"""The commands that the documents show do what they say."""

import json
import lzma
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from amaranth.back import rtlil

from tritstream.cli.app import run
from tritstream.cli.boards import describe_board
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import TOKENIZER_VOCAB, DummyCheckpoint, byte_tokenizer
from tritstream_hw.boards import TARGETS
from tritstream_sim.report import boards

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = list(dict.fromkeys(
    line for document in DOCUMENTS
    for line in re.findall(r"^\$ ([^#\n]*[^#\s])", document.read_text(), re.MULTILINE)))
BLOCKS = [(document.name, block) for document in DOCUMENTS for block in
          re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)]
# What a reader has and a test has not: another device.
DEVICE = dict.fromkeys(
    ("serial:/dev/ttyUSB0", "serial:/dev/ttyUSB0?build=build/ulx3s_85f"), "golden")
# What loads a bitstream has a loader, and a board, in tests/test_program.py.
OURS = [line for line in COMMANDS
        if line.startswith("tritstream ") and not line.startswith("tritstream program ")]


def _marks(command):
    simulated = "--device sim" in command or " selftest " in command
    return [pytest.mark.verilator] if simulated else []


def test_there_are_commands():
    assert len(OURS) >= 5
    assert "make demo" in COMMANDS


@pytest.mark.parametrize("command", [pytest.param(c, marks=_marks(c)) for c in OURS])
def test_command_of_the_documents(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    if "selftest" in words:             # golden is no board
        words = [*(word if word not in DEVICE else "sim" for word in words), "--seconds", "1"]
    words = [DEVICE.get(word, word) for word in words]
    assert run(words[1:]) == 0, capfd.readouterr().err
    assert capfd.readouterr().out


# What a test has not the hours for: a smaller model.
LITTLE = ["--hidden", "16", "--intermediate", "16", "--layers", "2", "--vocab", "262",
          "--sequence", "8", "--batch", "2", "--span", "2", "--warmup", "2", "--steps", "4",
          "--dtype", "float32", "--device", "cpu"]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Directory with the files that the documents' readers have."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    text = " ".join(np.random.default_rng(1).choice(["tree", "river", "stone", "the", "a"], 400))
    lines = "".join(json.dumps({"text": part}) + "\n" for part in (text[:1000], text[1000:]))
    for name in ("book.txt", "notes.txt", "held.txt"):
        (tmp_path / name).write_text(text)
    (tmp_path / "other.jsonl").write_text(lines)
    for name in ("books.jsonl.xz", "held-back.jsonl.xz"):
        (tmp_path / name).write_bytes(lzma.compress(lines.encode()))
    config = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=TOKENIZER_VOCAB, bos=0, eos=1)
    checkpoint = tmp_path / "path" / "to" / "checkpoint"
    DummyCheckpoint(config, 1).save(checkpoint)
    byte_tokenizer().save(str(checkpoint / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_commands_that_follow_one_another(block, reader):
    for line in block.splitlines():
        words = [DEVICE.get(word, word) for word in shlex.split(line, comments=True)]
        if "train" in words and "--resume" not in words:
            words += LITTLE
        if words[0] == "make":
            words[1:] = ["--dry-run", "-C", str(ROOT), *words[1:]]
        done = subprocess.run(words, cwd=reader, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr[-2000:])
        assert done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_target_of_the_documents(command):
    subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("program", [
    program for document in DOCUMENTS
    for program in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S)])
def test_program_of_the_documents(program):
    exec(compile(program, "program", "exec"), {})


def test_the_board_of_the_documents_is_elaborated():
    (text,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/adding-a-board.md").read_text(),
                         re.M | re.S)
    names = {}
    exec(compile(text, "board", "exec"), names)
    target = names["LARGER_ICEPI"]
    assert target.fpga == "LFE5U-45F-6BG256C" and target.luts == 43_848
    design = rtlil.convert(target.top(target.config, bytes(8), target.baud), ports=(),
                           platform=target.platform(), emit_src=False)
    assert "EHXPLLL" in design and "sdram_0__dq__io" in design


def test_the_page_of_the_boards_is_what_its_command_writes():
    images = boards.models()
    rows = [describe_board(target, images) for target in TARGETS.values()]
    simulated = json.loads((ROOT / boards.DATA).read_text())
    assert boards.page(rows, simulated) == (ROOT / "docs/boards.md").read_text()
    assert boards.overview(rows, simulated) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
