"""Several processes: torchrun on one machine, over gloo."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tritstream.errors import BadInput
from tritstream_train.config import TrainConfig
from tritstream_train.run.curve import Curve
from tritstream_train.run.distributed import Processes, clip_gradients
from tritstream_train.run.loop import train
from tritstream_train.run.state import latest

SHAPE = {"hidden": 16, "intermediate": 16, "layers": 2, "vocab": 270, "sequence": 16, "batch": 8,
         "span": 2, "dtype": "float32", "warmup": 5, "log_every": 1, "save_every": 4, "steps": 8}

LOSES_ONE = """
import os, signal, sys, time
from tritstream.cli.app import run
from tritstream_train.run import distributed
from tritstream_train.run import loop as trainer
distributed.PATIENCE_S = 1
update = trainer._Trainer._update
def dying(self):
    if self.step == 6 and self._processes.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self)
trainer._Trainer._update = dying
train = trainer.train
def slow(*arguments, **options):
    try:
        return train(*arguments, **options)
    except Exception:
        time.sleep(20)      # torchrun ends this process before it has said what is wrong
        raise
trainer.train = slow
sys.exit(run(sys.argv[1:]))
"""

GRADIENTS = """
import copy, os, warnings
os.environ["TRITON_INTERPRET"] = "1"
import torch
from tritstream.model.config import ModelConfig
from tritstream_train.kernels import ternary
from tritstream_train.run.distributed import Processes, clip_gradients, wrap
from tritstream_train.model.hgrn import HGRNBit

warnings.filterwarnings("error", message=".*view tensor")
ternary.PARTS = 2           # of a sum: programs, which the interpreter runs one by one
torch.manual_seed(0)
config = ModelConfig(hidden=16, intermediate=16, layers=2, vocab=20)
whole = HGRNBit(config, fused=True, dtype=torch.bfloat16)
tokens = torch.randint(20, (4, 4))
with Processes.join("cpu") as processes:
    shared = wrap(copy.deepcopy(whole), processes, "fsdp")
    start, stop = processes.share(4)
    for model, rows in (whole, slice(4)), (shared, slice(start, stop)):
        model(tokens[rows, :-1], tokens[rows, 1:]).backward()
    norms = clip_gradients(whole, 0.1), clip_gradients(shared, 0.1)
    torch.testing.assert_close(*norms, rtol=1e-4, atol=0)
    pairs = zip(whole.named_parameters(), shared.parameters(), strict=True)
    for (name, mine), its in pairs:
        its = its.grad.full_tensor()
        gap = (mine.grad - its).norm()
        assert gap <= 1e-3 * mine.grad.norm(), (name, mine.grad, its)
"""


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def torchrun(*arguments):
    return subprocess.run([*TORCHRUN, *arguments], capture_output=True, text=True, env=os.environ,
                          timeout=120)


def losses(directory):
    return [record.loss for record in Curve(directory / "losses.csv").read()]


def test_two_processes_have_the_losses_of_one(tmp_path, text):
    summaries = {}
    for parallel in ("ddp", "fsdp"):
        config = TrainConfig(data=text, valid=text, parallel=parallel, accumulate=2, **SHAPE)
        table = tmp_path / "config.json"
        table.write_text(json.dumps(config.to_json()))
        done = torchrun("-m", "tritstream", "train", "-o", str(tmp_path / parallel), "--config",
                        str(table), "--json")
        assert done.returncode == 0, done.stderr[-2000:]
        summaries[parallel] = json.loads(done.stdout.splitlines()[-1])
    # Another rounding anywhere, and training goes its own way: so not one bit may differ.
    ddp, fsdp = ([(record.loss, record.gradient) for record in
                  Curve(tmp_path / parallel / "losses.csv").read()] for parallel in summaries)
    assert ddp == fsdp
    assert summaries["ddp"]["valid"] == summaries["fsdp"]["valid"]
    one = train(config, tmp_path / "one")
    np.testing.assert_allclose(losses(tmp_path / "fsdp"), losses(tmp_path / "one"), rtol=2e-3)
    assert summaries["fsdp"]["valid"] == pytest.approx(one.valid, rel=5e-3)
    # What two processes left, one takes up.
    for parallel, summary in summaries.items():
        resumed = train(config, tmp_path / parallel, resume=True)
        assert resumed.valid == pytest.approx(summary["valid"])


def test_kernels_have_the_same_gradients_when_weights_are_shared_out(tmp_path):
    program = tmp_path / "gradients.py"
    program.write_text(GRADIENTS)
    done = torchrun(str(program))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_gradients_are_clipped_to_a_norm(limit):
    model = torch.nn.Linear(30, 20)
    model(torch.randn(5, 30)).square().sum().backward()
    other = copy.deepcopy(model)
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        its.grad = mine.grad.clone()
    norm = clip_gradients(model, limit)
    assert norm.dtype == torch.float32
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(other.parameters(), limit))
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)


def test_a_lost_process_stops_the_run_which_then_resumes(tmp_path, text):
    config = TrainConfig(data=text, **SHAPE | {"log_every": 3})
    table = tmp_path / "config.json"
    table.write_text(json.dumps(config.to_json()))
    program = tmp_path / "loses_one.py"
    program.write_text(LOSES_ONE)
    done = torchrun(str(program), "train", "-o", str(tmp_path / "run"), "--config", str(table))
    assert done.returncode != 0
    said = "of 2 lost another one: start them again with -o and --resume alone"
    assert said in " ".join(done.stderr.split()), done.stderr
    assert train(config, tmp_path / "run", resume=True).steps == 8
    train(config, tmp_path / "one")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "one"), rtol=2e-3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("interruptible")
def test_a_signal_to_torchrun_ends_all_behind_a_checkpoint(tmp_path, text, number):
    config = TrainConfig(data=text, **SHAPE | {"log_every": 3, "save_every": 1000, "steps": 5000})
    table = tmp_path / "config.json"
    table.write_text(json.dumps(config.to_json()))
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "tritstream", "train", "-o", str(tmp_path / "run"), "--config",
         str(table)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / "losses.csv").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    said = " ".join(process.communicate(timeout=60)[1].split())
    steps = re.findall(f"{number.name} stopped the run after step (\\d+), of which it has", said)
    assert len(steps) == 2 and len(set(steps)) == 1, said
    assert int(steps[0]) % 3 == 0
    assert latest(tmp_path / "run" / "checkpoints").name == f"step-{int(steps[0]):08}.pt"
    assert "lost" not in said


def test_rows_are_shared_evenly():
    shares = [Processes(rank, 4, "cpu").share(12) for rank in range(4)]
    assert shares == [(0, 3), (3, 6), (6, 9), (9, 12)]
    with pytest.raises(BadInput, match="batch of 13 windows cannot be shared by 4 processes"):
        Processes(0, 4, "cpu").share(13)
