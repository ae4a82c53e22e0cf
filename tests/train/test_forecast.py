"""What a run says before it begins, and that nothing long happens before all that may be wrong."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from tritstream.errors import BadInput
from tritstream_train import TrainConfig, train
from tritstream_train.config import preset
from tritstream_train.model.load import build
from tritstream_train.run import forecast, loop
from tritstream_train.run.forecast import duration
from tritstream_train.run.report import Silent

SHAPE = {"hidden": 16, "intermediate": 16, "layers": 2, "vocab": 270, "sequence": 16, "batch": 4,
         "dtype": "float32", "warmup": 4, "steps": 6}


class Told(Silent):
    """Keeps what a run says."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_a_run_says_first_what_it_will_take(tmp_path, text):
    report = Told()
    train(TrainConfig(data=text, **SHAPE), tmp_path / "run", report=report)
    assert report.said[0].startswith("6 steps of ") and "on this machine's CPU" in report.said[0]


def test_what_is_kept_grows_with_the_tokens(monkeypatch):
    monkeypatch.setattr(forecast, "MUCH", 0)
    config = TrainConfig(data="x", **SHAPE)
    model = build(config, config.model)
    _, kept = forecast._passes(model, 32, 16)
    assert kept == pytest.approx(forecast._timed(model, 32, 16)[1], rel=0.05)


def test_what_would_not_end_is_refused_unless_asked_for(tmp_path, text, monkeypatch):
    monkeypatch.setattr(forecast, "_passes", lambda *given: (100.0, 0.0))
    config = TrainConfig(data=text, hours=0.1, **SHAPE)
    with pytest.raises(BadInput, match=r"6 steps of 1e\+02 s or so: 10 minutes .* --hours 1\.$"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    longer = TrainConfig(data=text, hours=1.0, **SHAPE)
    assert train(longer, tmp_path / "run").steps == 6


def test_a_resumed_run_counts_what_is_left(tmp_path, text, monkeypatch):
    config = TrainConfig(data=text, **SHAPE)
    train(config, tmp_path / "run")
    monkeypatch.setattr(forecast, "_passes", lambda *given: (1e9, 0.0))
    assert train(config, tmp_path / "run", resume=True).steps == 6      # nothing is left


def test_the_preset_for_a_gpu_does_not_begin_on_a_cpu(tmp_path, text, monkeypatch):
    monkeypatch.setattr(forecast, "_passes", lambda *given: (20.0, 9e9))
    monkeypatch.setattr(forecast, "_memory", lambda: 1 << 40)
    monkeypatch.setattr(loop, "learn_tokenizer", None)
    settings = preset("demo") | {"data": text, "device": "cpu", "graph": False}
    with pytest.raises(BadInput, match="71201 steps .* 16 days .* train on a GPU"):
        train(TrainConfig(**settings), tmp_path / "run")


@pytest.mark.parametrize("there", [1 << 20, 1 << 40])
def test_what_does_not_fit_is_refused(tmp_path, text, monkeypatch, there):
    monkeypatch.setattr(forecast, "_memory", lambda: there)
    monkeypatch.setattr(forecast, "_passes", lambda *given: (0.0, 1e15))
    with pytest.raises(BadInput, match="of memory at least, .* give --accumulate 2"):
        train(TrainConfig(data=text, **SHAPE), tmp_path / "run")


def test_weights_and_their_order_do_not_depend_on_it(text):
    config = TrainConfig(data=text, **SHAPE)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    forecast.forecast(config, config.model, lambda: build(config, config.model), 4, 6)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("seconds", "words"), [(3, "3 s"), (150, "2 minutes"), (9000, "2 hours"),
                                                (3e5, "3 days"), (1e9, "32 years")])
def test_times_are_words(seconds, words):
    assert duration(seconds) == words


def test_a_bad_place_or_text_is_told_before_a_tokenizer_is_learned(tmp_path, text, monkeypatch):
    monkeypatch.setattr(loop, "learn_tokenizer", None)
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        train(TrainConfig(data=text, valid=str(tmp_path / "bad.txt"), **SHAPE), tmp_path / "run")
    with pytest.raises(BadInput, match="cannot be made: .*bad.txt is not a directory"):
        train(TrainConfig(data=text, **SHAPE), tmp_path / "bad.txt" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BadInput, match="cannot be made: .*written to; give another"):
        train(TrainConfig(data=text, **SHAPE), tmp_path / "run")


def test_steps_are_told_of_between_the_lines_of_the_curve(tmp_path, text, monkeypatch):
    monkeypatch.setattr(loop, "SILENCE_S", 0.0)
    report = Told()
    train(TrainConfig(data=text, log_every=4, **SHAPE), tmp_path / "run", report=report)
    steps = [line for line in report.said if line.startswith("step ")]
    assert [line.split("/")[0] for line in steps] == ["step 1", "step 2", "step 3", "step 5"]
    assert all("  loss 5." in line for line in steps)
    assert "to go" in steps[1] and "to go" not in steps[0]


# A step that Python hears nothing in, as a product of large matrices is one.
DEAF = """
import hashlib, json, sys
from tritstream_train import TrainConfig, train
from tritstream_train.run import step
from tritstream_train.run.report import Silent
class Told(Silent):
    def say(self, text):
        print(text, flush=True)
def deaf(*arguments):
    print("deaf", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
step.Gradients.__call__ = deaf
train(TrainConfig(**json.loads(sys.argv[1])), sys.argv[2], report=Told())
"""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_in_the_middle_of_a_step(tmp_path, text, number):
    config = json.dumps(TrainConfig(data=text, **SHAPE).to_json())
    with subprocess.Popen([sys.executable, "-c", DEAF, config, str(tmp_path / "run")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any(line == "deaf\n" for line in process.stdout)
        process.send_signal(number)
        assert "a second signal ends it at once" in process.stdout.readline()
        process.send_signal(number)
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert f"error: {number.name} ended the run in the middle of a step" in said
