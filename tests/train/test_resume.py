"""A run that was killed goes on as if nothing had happened."""

import concurrent.futures
import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tritstream.errors import BadInput
from tritstream.support.files import replacing
from tritstream_train.config import TrainConfig
from tritstream_train.run import loop as trainer
from tritstream_train.run import signals as stopping
from tritstream_train.run import state as states
from tritstream_train.run.curve import Curve
from tritstream_train.run.loop import train
from tritstream_train.run.signals import Stopped
from tritstream_train.run.state import latest, write_state

SHAPE = {"hidden": 16, "intermediate": 16, "layers": 2, "vocab": 270, "sequence": 16, "batch": 4,
         "span": 3, "dtype": "float32", "warmup": 5, "log_every": 1, "save_every": 7, "steps": 30}


class Stop:
    """Interrupts a run, as a signal would, when it has told of a step."""

    def __init__(self, step):
        self._step = step

    def say(self, text):
        pass

    def show(self, record, total):
        if record.step == self._step:
            raise KeyboardInterrupt


def losses(directory):
    return [(record.step, record.loss) for record in Curve(directory / "losses.csv").read()]


def interrupted(config, directory, step):
    with pytest.raises(KeyboardInterrupt):
        train(config, directory, report=Stop(step))


@pytest.mark.parametrize("change", [{}, {"freeze": 0.8}, {"dropout": 0.2}], ids=str)
def test_losses_are_those_of_an_undisturbed_run(tmp_path, text, change):
    config = TrainConfig(data=text, **SHAPE | change)
    train(config, tmp_path / "whole")
    interrupted(config, tmp_path / "cut", 18)
    assert [path.name for path in sorted((tmp_path / "cut" / "checkpoints").iterdir())] == [
        "step-00000007.pt", "step-00000014.pt"]
    train(config, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert (tmp_path / "cut" / "model" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model" / "model.safetensors").read_bytes()


def test_a_killed_process_resumes_exactly(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE | {"steps": 150, "save_every": 20})
    program = ("import json, sys\n"
               "from tritstream_train.config import TrainConfig\n"
               "from tritstream_train.run.loop import train\n"
               "train(TrainConfig(**json.loads(sys.argv[1])), sys.argv[2])\n")
    directory = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", program, json.dumps(config.to_json()),
                                str(directory)])
    deadline = time.monotonic() + 60
    while not list(directory.glob("checkpoints/step-*[1-9]?.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(losses(directory)) < 150
    train(config, directory, resume=True)
    train(config, tmp_path / "whole")
    assert losses(directory) == losses(tmp_path / "whole")


@pytest.mark.parametrize("log_every", [4, 20])
def test_a_line_may_be_about_steps_before_and_behind_a_checkpoint(tmp_path, text, log_every):
    config = TrainConfig(data=text, **SHAPE | {"log_every": log_every})
    train(config, tmp_path / "whole")
    interrupted(config, tmp_path / "cut", 20)
    train(config, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


class Signal(Stop):
    """Sends this process signals when it has told of a step."""

    def __init__(self, step, *signals):
        super().__init__(step)
        self._signals = signals

    def show(self, record, total):
        if record.step == self._step:
            for number in self._signals:
                signal.raise_signal(number)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_behind_a_checkpoint(tmp_path, text, number, code):
    config = TrainConfig(data=text, **SHAPE)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    train(config, tmp_path / "whole")
    said = rf"^{number.name} stopped the run after step 18, .*cut --resume`\.$"
    with pytest.raises(Stopped, match=said) as stopped:
        train(config, tmp_path / "cut", report=Signal(18, number))
    assert stopped.value.exit_code == code
    assert latest(tmp_path / "cut" / "checkpoints").name == "step-00000018.pt"
    assert handlers == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    train(config, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_ends_a_run_at_once(tmp_path, text, monkeypatch):
    monkeypatch.setattr(stopping, "ONCE_S", 0.0)
    config = TrainConfig(data=text, **SHAPE)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", report=Signal(18, signal.SIGTERM, signal.SIGINT))
    assert latest(tmp_path / "run" / "checkpoints").name == "step-00000014.pt"


def test_a_signal_sent_twice_is_one(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    with pytest.raises(Stopped, match="after step 18"):
        train(config, tmp_path / "run", report=Signal(18, signal.SIGTERM, signal.SIGTERM))


def test_an_ignored_signal_stays_ignored(tmp_path, text):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        config = TrainConfig(data=text, **SHAPE)
        assert train(config, tmp_path / "run", report=Signal(18, signal.SIGINT)).steps == 30
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_in_the_last_step_is_not_lost_either(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    with pytest.raises(Stopped, match="after step 30"):
        train(config, tmp_path / "run", report=Signal(30, signal.SIGTERM))
    assert train(config, tmp_path / "run", resume=True).steps == 30
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_nor_is_one_while_the_last_checkpoint_is_written(tmp_path, text, monkeypatch):
    def written(directory, state, keep):
        path = write_state(directory, state, keep)
        if state.step == 30:
            signal.raise_signal(signal.SIGTERM)
        return path

    monkeypatch.setattr(trainer, "write_state", written)
    with pytest.raises(Stopped, match="after step 30"):
        train(TrainConfig(data=text, **SHAPE), tmp_path / "run")


def test_a_thread_trains_without_signals(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert pool.submit(train, config, tmp_path / "run").result().steps == 30


def test_a_torn_last_line_of_the_curve_goes(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 18)
    with open(tmp_path / "run" / "losses.csv", "a") as file:
        file.write("19,12")
    train(config, tmp_path / "run", resume=True)
    assert [step for step, _ in losses(tmp_path / "run")] == list(range(1, 31))


def test_checkpoints_may_come_before_the_first_line(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE | {"log_every": 20})
    interrupted(config, tmp_path / "run$_{^$", 20)
    assert len(list((tmp_path / "run$_{^$" / "checkpoints").iterdir())) == 2


def test_another_start_is_refused(tmp_path, text):
    first = train(TrainConfig(data=text, **SHAPE | {"steps": 6}), tmp_path / "first").model
    config = TrainConfig(data=text, start=first, **SHAPE | {"steps": 20})
    interrupted(config, tmp_path / "run", 10)
    weights = tmp_path / "first" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x3c")
    with pytest.raises(BadInput, match="contents of .*first/model have changed"):
        train(config, tmp_path / "run", resume=True)


def test_a_run_under_way_needs_no_start_and_finds_moved_data(tmp_path, text):
    first = train(TrainConfig(data=text, **SHAPE | {"steps": 6}), tmp_path / "first").model
    config = TrainConfig(data=text, start=first, **SHAPE | {"steps": 20})
    train(config, tmp_path / "whole")
    interrupted(config, tmp_path / "run", 10)
    shutil.rmtree(tmp_path / "first")
    moved = tmp_path / "moved.txt"
    (tmp_path / "text.txt").rename(moved)
    train(dataclasses.replace(config, data=str(moved)), tmp_path / "run", resume=True)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_run_that_has_not_begun_needs_its_start(tmp_path, text):
    first = train(TrainConfig(data=text, **SHAPE | {"steps": 6}), tmp_path / "first").model
    config = TrainConfig(data=text, start=first, **SHAPE | {"steps": 20})
    interrupted(config, tmp_path / "run", 3)
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(BadInput, match="first/model"):
        train(config, tmp_path / "run", resume=True)


def test_two_processes_do_not_train_the_same_run(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)

    class Second(Stop):
        def show(self, record, total):
            if record.step == self._step:
                with pytest.raises(BadInput, match="Another process is training the run in .*run"):
                    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "run", report=Second(10))
    assert [step for step, _ in losses(tmp_path / "run")] == list(range(1, 31))


def test_a_full_disk_is_one_sentence(tmp_path, text, monkeypatch):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 10)

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(states, "open", lambda path, mode: Full(path, mode), raising=False)
    with pytest.raises(BadInput, match=r"step-00000014.pt cannot be written: No space left"):
        train(config, tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [
        "step-00000007.pt"]


def test_weights_that_are_no_numbers_are_not_kept(tmp_path, text, monkeypatch):
    config = TrainConfig(data=text, **SHAPE | {"keep": 1})
    update = trainer._Trainer._update

    def infinite(self):
        if self.step == 13:
            next(self._model.parameters()).grad[0, 0] = torch.inf
        return update(self)
    monkeypatch.setattr(trainer._Trainer, "_update", infinite)
    with pytest.raises(trainer.LostLoss, match="norm of the gradient is inf at step 14"):
        train(config, tmp_path / "run")
    assert latest(tmp_path / "run" / "checkpoints").name == "step-00000007.pt"


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 3)
    train(config, tmp_path / "run", resume=True)
    assert [step for step, _ in losses(tmp_path / "run")] == list(range(1, 31))


def test_parts_may_change_where_a_run_goes_on(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 10)
    train(dataclasses.replace(config, accumulate=2), tmp_path / "run", resume=True)
    train(config, tmp_path / "whole")
    np.testing.assert_allclose(np.array(losses(tmp_path / "run")),
                               np.array(losses(tmp_path / "whole")), rtol=2e-3)


def test_another_run_is_not_overwritten(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 8)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match="holds a run already"):
        train(config, tmp_path / "run")
    with pytest.raises(BadInput, match="rate = 0.006, not 0.1"):
        train(dataclasses.replace(config, rate=0.1), tmp_path / "run", resume=True)
    (tmp_path / "text.txt").write_text("something else " * 500)
    with pytest.raises(BadInput, match="have changed since"):
        train(config, tmp_path / "run", resume=True)
    assert before == {path: path.read_bytes() for path in before}


def test_what_is_no_run_is_not_touched(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not a run"):
        train(config, other)
    with pytest.raises(BadInput, match="no run to resume"):
        train(config, other, resume=True)
    (other / "run.json").write_text('{"format": "another"}')
    with pytest.raises(BadInput, match="does not describe a run"):
        train(config, other, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be made"):
        train(config, tmp_path / "file" / "run")


def test_a_checkpoint_of_another_version_is_not_called_damaged(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 15)
    last = latest(tmp_path / "run" / "checkpoints")
    torch.save(torch.load(last) | {"format": "tritstream training state 2"}, last)
    with pytest.raises(BadInput, match="another version .*state 2, not .*: go on with that"):
        train(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("damage", ["cut", "foreign", "bits"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, text, damage):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 15)
    last = tmp_path / "run" / "checkpoints" / "step-00000014.pt"
    contents = last.read_bytes()
    middle = len(contents) // 2
    last.write_bytes({"cut": contents[:middle], "foreign": b"PK not a checkpoint", "bits":
                      contents[:middle] + bytes([contents[middle] ^ 1]) + contents[middle + 1:]
                      }[damage])
    with pytest.raises(BadInput, match=r"step-00000014\.pt is .*remove it"):
        train(config, tmp_path / "run", resume=True)
    last.unlink()
    assert train(config, tmp_path / "run", resume=True).steps == 30


def test_a_checkpoint_of_another_run_is_one_sentence(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    interrupted(config, tmp_path / "run", 10)
    interrupted(dataclasses.replace(config, rate=0.1), tmp_path / "other", 15)
    name = "step-00000014.pt"
    shutil.copy(tmp_path / "other/checkpoints" / name, tmp_path / "run/checkpoints" / name)
    with pytest.raises(BadInput, match=r"14.pt is a checkpoint of another run, with rate = 0.1"):
        train(config, tmp_path / "run", resume=True)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(BadInput, match="No space left.*as it was"), replacing(path) as aside:
        aside.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
