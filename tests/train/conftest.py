"""Without a GPU kernels run in Triton's interpreter, which must be set before its import."""

import os
import pathlib
import signal
import sys

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Benchmarks and experiments are scripts, and import one another as such.
TRAIN = pathlib.Path(__file__).parents[2] / "train"
sys.path[:0] = [str(TRAIN / name) for name in ("benchmarks", "experiments")]

# Tests run side by side, and the last bit of a sum depends on how many threads make it.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def text(tmp_path, monkeypatch):
    """File of a thousand words, in an empty directory that holds the cache, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    path = tmp_path / "text.txt"
    path.write_text(" ".join(rng.choice(["tree", "river", "stone", "the", "a", "runs"], 1000)))
    return str(path)


@pytest.fixture
def interruptible():
    """Heed SIGINT, here and in processes started here, though a shell may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
