"""The transformer to compare with."""

import json

import numpy as np
import pytest
import torch

from transformer import Transformer, _rotate, _rotation, build
from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig
from tritstream_train.config import TrainConfig
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.run.loop import train

CONFIG = ModelConfig(hidden=128, intermediate=256, layers=2, vocab=270, bos=0, eos=1)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Transformer(CONFIG, dtype=torch.float32)


def test_matrices_are_as_large_as_the_matmul_free_model_s(model):
    def elements(module):
        return sum(weight.numel() for weight in module.parameters() if weight.ndim == 2
                   and len(weight) != CONFIG.layers)
    assert elements(model) == elements(HGRNBit(CONFIG))


def test_no_token_sees_a_later_one(model):
    tokens = torch.randint(0, 270, (2, 12))
    other = tokens.clone()
    other[:, 8:] = (other[:, 8:] + 1) % 270
    with torch.no_grad():
        before, after = model(tokens), model(other)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert (before[:, 8:] != after[:, 8:]).any()


def test_rotations_depend_on_the_distance_only():
    torch.manual_seed(2)
    q, k = torch.randn(2, 64)
    rotation = _rotation(40, "cpu")

    def product(first, second):
        turned = [_rotate(vector, tuple(part[place] for part in rotation))
                  for vector, place in ((q, first), (k, second))]
        return float(turned[0] @ turned[1])
    assert product(3, 10) == pytest.approx(product(30, 37), abs=1e-4)
    assert product(3, 10) != pytest.approx(product(3, 11), abs=1e-2)


def test_a_loss_is_the_cross_entropy_of_the_logits(model):
    tokens = torch.randint(0, 270, (2, 9))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    chosen = model(inputs).log_softmax(-1).gather(-1, targets[..., None])
    torch.testing.assert_close(model(inputs, targets), -chosen.mean())


def test_it_is_trained_by_the_same_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = np.random.default_rng(1).choice(["tree", "river", "stone", "the", "runs"], 2000)
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"text": " ".join(words)}))
    config = TrainConfig(data=str(path), valid=str(path), hidden=64, intermediate=64,
                         layers=1, vocab=266, sequence=16, batch=4, steps=30,
                         warmup=5, rate=0.005, dtype="float32", save_every=10)
    summary = train(config, tmp_path / "run", build=build)
    assert summary.model is None
    assert summary.valid < 8 and summary.loss < np.log(266)
    assert train(config, tmp_path / "run", resume=True, build=build).valid == summary.valid


def test_heads_have_to_divide_the_width():
    with pytest.raises(BadInput, match="multiple of 64, the width of a head, not 100"):
        Transformer(ModelConfig(hidden=100, intermediate=64, layers=1, vocab=270))
