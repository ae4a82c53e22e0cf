"""Several processes: torchrun on one machine, over gloo."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tritstream.errors import BadInput
from tritstream_train.curve import Curve
from tritstream_train.distributed import Processes
from tritstream_train.settings import TrainConfig
from tritstream_train.trainer import train

SHAPE = {"hidden": 16, "intermediate": 16, "layers": 2, "vocab": 270, "sequence": 16, "batch": 8,
         "span": 2, "dtype": "float32", "warmup": 5, "log_every": 1, "save_every": 4, "steps": 8}

LOSES_ONE = """
import os, signal, sys
from tritstream.cli import run
from tritstream_train import trainer
update = trainer._Trainer._update
def dying(self):
    if self.step == 6 and self._processes.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self)
trainer._Trainer._update = dying
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rng = np.random.default_rng(1)
    path = tmp_path / "text.txt"
    path.write_text(" ".join(rng.choice(["tree", "river", "stone", "the", "a", "runs"], 1000)))
    return str(path)


def torchrun(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         *arguments], capture_output=True, text=True, env=os.environ, timeout=120)


def losses(directory):
    return [record.loss for record in Curve(directory / "losses.csv").read()]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_of_one(tmp_path, text, parallel):
    config = TrainConfig(data=text, valid=text, parallel=parallel, accumulate=2, **SHAPE)
    table = tmp_path / "config.json"
    table.write_text(json.dumps(config.to_json()))
    done = torchrun("-m", "tritstream", "train", "-o", str(tmp_path / "two"), "--config",
                    str(table), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    one = train(config, tmp_path / "one")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-3)
    assert summary["valid"] == pytest.approx(one.valid, rel=5e-3)
    # What two processes left, one takes up.
    assert train(config, tmp_path / "two", resume=True).valid == pytest.approx(summary["valid"])


def test_a_lost_process_stops_the_run_which_then_resumes(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE)
    table = tmp_path / "config.json"
    table.write_text(json.dumps(config.to_json()))
    program = tmp_path / "loses_one.py"
    program.write_text(LOSES_ONE)
    done = torchrun(str(program), "train", "-o", str(tmp_path / "run"), "--config", str(table))
    assert done.returncode != 0
    assert "of 2 lost another one: start the same command with --resume" in " ".join(
        done.stderr.split())
    assert train(config, tmp_path / "run", resume=True).steps == 8
    train(config, tmp_path / "one")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "one"), rtol=2e-3)


def test_rows_are_shared_evenly():
    shares = [Processes(rank, 4, "cpu").share(12) for rank in range(4)]
    assert shares == [(0, 3), (3, 6), (6, 9), (9, 12)]
    with pytest.raises(BadInput, match="batch of 13 windows cannot be shared by 4 processes"):
        Processes(0, 4, "cpu").share(13)
