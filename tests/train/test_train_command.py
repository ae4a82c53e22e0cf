"""`tritstream train` as a user types it, and the card of what it makes."""

import json
import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest

from tritstream.cli.app import run
from tritstream_train import release
from tritstream_train.command import config

SMALL = ["--hidden", "16", "--intermediate", "16", "--layers", "2", "--vocab", "270", "--sequence",
         "16", "--batch", "4", "--warmup", "4", "--dtype", "float32", "--log-every", "10"]


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    path = tmp_path / "text.txt"
    path.write_text(" ".join(rng.choice(["tree", "river", "stone", "the", "a", "runs"], 800)))
    return ["--data", str(path), "--valid", str(path), "--device", "cpu"]


def error_of(capfd, *arguments, code=2):
    assert run(["train", "-o", "run", *arguments]) == code
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ") and lines[-1].endswith(".")
    return lines[-1]


def test_from_text_to_generated_text(text, capfd):
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "20"]) == 0
    captured = capfd.readouterr()
    assert "20 steps, 1.28 k tokens" in captured.out and "bits per byte" in captured.out
    assert "step 10/20  loss" in captured.err and "step 20/20  loss" in captured.err
    assert run(["pack", "run/model", "-o", "m.trit"]) == 0
    assert run(["generate", "-m", "m.trit", "-p", "the river", "-n", "5"]) == 0
    assert capfd.readouterr().out


def test_json_has_every_record_and_the_summary(text, capfd):
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "20", "--json"]) == 0
    *records, summary = map(json.loads, capfd.readouterr().out.splitlines())
    assert [record["step"] for record in records] == [10, 20]
    assert summary["steps"] == 20 and summary["valid"] == records[-1]["valid"]
    assert run(["train", "-o", "run", "--resume", "--json"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert again["valid"] == summary["valid"]


def test_settings_come_from_preset_file_and_line(text, tmp_path, capfd):
    shape = tmp_path / "config.json"
    shape.write_text(json.dumps({"model_type": "hgrn_bit", "hidden_size": 24, "vocab_size": 264,
                                 "intermediate_size": 32, "num_hidden_layers": 1}))
    assert run(["train", "-o", "run", "--preset", "tiny", "--config", str(shape), *text, "--steps",
                "2", "--batch", "2", "--sequence", "8", "--span", "1", "--dtype", "float32"]) == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["hidden"], settings["vocab"], settings["batch"]) == (24, 264, 2)
    assert settings["steps"] == 2 and not settings["graph"]


def test_a_cpu_computes_float32_unless_told(tmp_path):
    def dtype(**given):
        return config(tmp_path, False, "tiny", {}, {"data": "x"} | given).dtype
    assert dtype(device="cpu") == "float32"
    assert dtype(device="cpu", dtype="bfloat16") == dtype(device="cuda") == "bfloat16"


def test_what_is_wrong_is_one_sentence(text, tmp_path, capfd):
    steps = ["--steps", "2"]
    assert "--data FILE" in error_of(capfd, *steps)
    assert "a run has to have an end: give --steps" in error_of(capfd, *text).lower()
    assert "No such file" in error_of(capfd, "--data", "absent.txt", *steps)
    assert "There is no preset 'huge'" in error_of(capfd, *text, "--preset", "huge")
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    assert "not UTF-8: byte 3" in error_of(capfd, "--data", "bad.txt", *SMALL, *steps)
    (tmp_path / "bad.json").write_text("[1]")
    assert "JSON object" in error_of(capfd, *text, "--config", "bad.json", *steps)
    (tmp_path / "bad.json").write_text('{"colour": 1}')
    assert "'colour'" in error_of(capfd, *text, "--config", "bad.json", *steps)
    (tmp_path / "bad.json").write_text("[" * 100_000)
    assert "nested too deep" in error_of(capfd, *text, "--config", "bad.json", *steps)
    assert "no run to resume" in error_of(capfd, "--resume")
    assert "not a tokenizer" in error_of(capfd, *text, *SMALL, *steps, "--tokenizer", "bad.json")
    assert "config.json cannot be read" in error_of(capfd, *text, *steps, "--model", "absent")


@pytest.mark.parametrize("option", ["--data", "--valid", "--tokenizer", "--config"])
def test_what_only_looks_like_a_file_is_never_opened(text, tmp_path, capfd, option):
    """To open a FIFO would wait for ever; a device may have no end."""
    os.mkfifo(tmp_path / "fifo")
    for path in ("fifo", "/dev/zero"):
        message = error_of(capfd, *text, "--steps", "2", option, path)
        assert f"{path} is not a regular file" in message


def test_a_text_of_a_line_is_too_short(text, tmp_path, capfd):
    (tmp_path / "line.txt").write_text("One line.\n")
    assert "different tokens to learn" in error_of(
        capfd, "--data", "line.txt", "--steps", "2", *SMALL)
    assert run(["train", "-o", "whole", *text, *SMALL, "--steps", "1"]) == 0
    message = error_of(capfd, "--data", "line.txt", "--steps", "2", *SMALL, "--tokenizer",
                       "whole/tokenizer.json")
    assert "windows of 16 need 17" in message
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(text, tmp_path, capfd):
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "2"]) == 0
    assert "holds a run already" in error_of(capfd, *text, *SMALL, "--steps", "3")
    assert "steps = 2, not 3" in error_of(capfd, "--resume", "--steps", "3")
    assert "leave --preset" in error_of(capfd, "--resume", "--preset", "tiny")


def test_without_the_extra_it_says_what_to_install(tmp_path):
    program = ("import sys; sys.modules['torch'] = None\n"
               "from tritstream.cli.app import run\n"
               "sys.exit(run(['train', '-o', 'run', '--data', 'x', '--steps', '1']))\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=tmp_path)
    assert done.returncode == 3
    assert "pip install 'tritstream[train]'" in done.stderr


def test_a_release_says_how_the_model_was_made(text, tmp_path, capfd):
    options = ["run", "-o", "shelf/little", "--machine", "a CPU", "--data", "Words, mine."]
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "4"]) == 0
    assert release.main(options) == 0
    files = tmp_path / "shelf" / "little"
    assert {file.name for file in files.iterdir()} == {
        "little.trit", "config.json", "tokenizer.json", "README.md", "losses.png", "figures.json"}
    capfd.readouterr()
    assert run(["eval", "--text", "text.txt", "-m", str(files / "little.trit"), "--json"]) == 0
    score = json.loads(capfd.readouterr().out)
    written = (files / "README.md").read_text()
    assert written.startswith("# little\n") and "a CPU" in written and "Words, mine." in written
    assert f"| golden | {score['bits_per_byte']:.4f} |" in written
    found = json.loads((files / "figures.json").read_text())
    assert found["evaluations"]["golden"]["bits_per_byte"] == score["bits_per_byte"]
    assert found["image_bytes"] == (files / "little.trit").stat().st_size
    assert "| rate | 0.006 |" in written and "vector_rate" not in written
    assert str(tmp_path) not in written


def test_the_card_has_the_command_as_typed(text, tmp_path, monkeypatch):
    words = ["/usr/bin/tritstream", "train", "-o", "run", f"--data={tmp_path}/text.txt", *text[2:]]
    monkeypatch.setattr("sys.argv", words)
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "2"]) == 0
    assert release.main(["run", "-o", "one", "--machine", "a CPU", "--data", "Words."]) == 0
    assert ("    tritstream train -o run --data=text.txt --valid text.txt --device cpu\n"
            in (tmp_path / "one" / "README.md").read_text())


def test_a_release_tells_of_all_runs(text, tmp_path, capfd):
    options = ["-o", "little", "--machine", "a CPU", "--data", "Words, mine."]
    assert run(["train", "-o", "one", *text, *SMALL, "--steps", "4"]) == 0
    assert run(["train", "-o", "two", *text, *SMALL, "--steps", "6", "-m", "one/model",
                "--dropout", "0.1"]) == 0
    assert run(["train", "-o", "other", *text, *SMALL, "--steps", "4", "--seed", "2"]) == 0
    for runs, later, before in ((["two", "one"], "one", "two"), (["other", "two"], "two", "other"),
                                (["one", "other", "two"], "other", "one"),
                                (["other", "one", "two"], "one", "other")):
        after = [word for one in runs[:-1] for word in ("--after", one)]
        assert release.main([runs[-1], *options, *after]) == 2
        assert (f"error: {later} did not start from the model in {before}/model: name with --after"
                in " ".join(capfd.readouterr().err.split()))
    assert release.main(["two", *options, "--after", "one", "--after", "./two"]) == 2
    assert "A run is given twice" in " ".join(capfd.readouterr().err.split())
    assert release.main(["two", *options, "--after", "one"]) == 0
    found = json.loads((tmp_path / "little" / "figures.json").read_text())
    assert (found["steps"], found["tokens"]) == (10, 640)
    _, first, second = (tmp_path / "little" / "README.md").read_text().split("### Run ")
    assert first.startswith("1 of 2") and "| dropout | 0.0 |" in first and "\n4 steps" in first
    assert second.startswith("2 of 2") and "| dropout | 0.1 |" in second and "\n6 steps" in second
    assert "| start | model |" in second and "| start |" not in first


def test_a_release_replaces_nothing(text, tmp_path, capfd):
    options = ["run", "-o", "shelf", "--machine", "a CPU", "--data", "Words, mine."]
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "2"]) == 0
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "README.md").write_text("mine")
    assert release.main(options) == 2
    assert "shelf exists already" in " ".join(capfd.readouterr().err.split())
    assert (tmp_path / "shelf" / "README.md").read_text() == "mine"
    assert release.main([*options, "-o", "new", "--device", "foo"]) == 2
    (tmp_path / "text.txt").write_text("other words")
    assert release.main([*options, "-o", "new"]) == 2
    assert "have changed since the run" in " ".join(capfd.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir() if "new" in path.name) == []


def test_what_cannot_be_released_is_one_sentence(text, tmp_path, capfd):
    options = ["run", "-o", "little", "--machine", "a CPU", "--data", "Words, mine."]

    def error():
        capfd.readouterr()
        assert release.main(options) == 2
        return " ".join(capfd.readouterr().err.split())
    assert "holds no run" in error()
    options += ["--device", "float"]
    assert "device float does not compute the integers" in error()
    del options[-2:]
    alone = [*text[:2], *text[4:]]
    assert run(["train", "-o", "run", *alone, *SMALL, "--steps", "2"]) == 0
    assert "train with --valid FILE" in error()
    curve = tmp_path / "run" / "losses.csv"
    curve.write_text("".join(curve.read_text().splitlines(keepends=True)[:-1]))
    assert "is at step 0 of 2: finish the run" in error()
    assert not (tmp_path / "little").exists()


@pytest.mark.parametrize("where, error, message", [
    ("tritstream_train.release.score", TimeoutError("the port is silent"),
     "A file or a device cannot be used: the port is silent; little was not made"),
    ("tritstream_train.release.card", FileNotFoundError(2, "No such file", "losses.csv"),
     "losses.csv cannot be used: No such file; little was not made"),
    ("matplotlib.figure.Figure.savefig", FileNotFoundError(2, "No such file", "sans.ttf"),
     "sans.ttf cannot be used: No such file; little was not made")])
def test_an_error_within_a_release_is_told_as_what_it_is(text, tmp_path, capfd, monkeypatch, where,
                                                         error, message):
    def fail(*arguments, **options):
        raise error
    assert run(["train", "-o", "run", *text, *SMALL, "--steps", "2"]) == 0
    monkeypatch.setattr(where, fail)
    assert release.main(["run", "-o", "little", "--machine", "a CPU", "--data", "Words."]) == 2
    assert f"error: {message}" in " ".join(capfd.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir() if "little" in path.name) == []


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("processes", [None, 1], ids=["alone", "torchrun"])
def test_a_signal_ends_the_command_with_a_sentence(tmp_path, text, number, code, processes):
    command = [sys.executable, "-m", "tritstream", "train", "-o", "run", *text, *SMALL, "--steps",
               "2000"]
    env = dict(os.environ)
    if processes:
        env |= {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert any(line.startswith("step 10/") for line in process.stderr)
        process.send_signal(number)
        *_, last = process.stderr.read().splitlines()
    assert process.returncode == code
    assert last.startswith(f"error: {number.name} stopped the run after step ")
    advice = shlex.split(last.split("`")[1])
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    done = int(saved.stem.removeprefix("step-"))
    with subprocess.Popen([sys.executable, "-m", *advice], stderr=subprocess.PIPE, text=True
                          ) as process:
        assert any(line == f"resuming from step {done}\n" for line in process.stderr)
        process.kill()
