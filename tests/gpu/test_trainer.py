"""The trainer on a GPU: fused kernels, a CUDA graph, and resuming."""

import json

import numpy as np
import pytest

from tritstream.errors import DeviceError
from tritstream_train.config import TrainConfig
from tritstream_train.run.curve import Curve
from tritstream_train.run.loop import train

SHAPE = {"hidden": 128, "intermediate": 256, "layers": 2, "vocab": 300, "sequence": 64, "batch": 8,
         "span": 4, "warmup": 10, "log_every": 5, "save_every": 15, "steps": 40, "device": "cuda"}


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(60)]
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"text": " ".join(rng.choice(words, 6000))}))
    return {"data": str(path), "valid": str(path)}


def losses(directory):
    return np.array([record.loss for record in Curve(directory / "losses.csv").read()])


@pytest.mark.parametrize("change", [{"graph": True}, {"graph": True, "accumulate": 2},
                                    {"fused": False}], ids=str)
def test_paths_have_the_same_losses(tmp_path, text, change):
    # A low rate: at the usual one, other sums alone part the losses by 2 %, also on a CPU.
    train(TrainConfig(**text, **SHAPE, rate=1e-3), tmp_path / "fused")
    train(TrainConfig(**text, **SHAPE | change, rate=1e-3), tmp_path / "other")
    np.testing.assert_allclose(losses(tmp_path / "other"), losses(tmp_path / "fused"), rtol=0.01)


@pytest.mark.parametrize("change", [{}, {"freeze": 0.8}, {"dropout": 0.2}], ids=str)
def test_a_run_resumes_where_it_was(tmp_path, text, change):
    class Stop:
        def say(self, text):
            pass

        def show(self, record, total):
            if record.step == 25:
                raise KeyboardInterrupt

    config = TrainConfig(**text, **SHAPE, graph=True, **change)
    train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", report=Stop())
    summary = train(config, tmp_path / "cut", resume=True)
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "whole"), rtol=0.01)
    assert summary.valid < 4


def test_a_gpu_too_small_is_one_sentence(tmp_path, text):
    config = TrainConfig(**text, **SHAPE | {"batch": 1 << 20, "fused": False})
    with pytest.raises(DeviceError, match="GiB do not hold 1048576 windows of 64 .*--accumulate 2"):
        train(config, tmp_path / "run")
