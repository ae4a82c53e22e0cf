"""Dummy models: repeatable, lazy, of any shape, and as wild as asked for."""

import math
import tracemalloc

import numpy as np
import pytest

from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.dummy import BLOCK, OUTLIER, PRESETS, DummyCheckpoint, byte_tokenizer
from tritstream.reference import FloatModel

CONFIG = ModelConfig(hidden=130, intermediate=70, layers=2, vocab=3 * BLOCK + 7, bos=0, eos=1)


def gains(dummy):
    names = [name.removesuffix(".weight") for name in tensor_shapes(dummy.config)]
    return np.concatenate([dummy.gain(name) for name in names if name.endswith("norm")])


def test_a_seed_is_a_model():
    one, same, other = (DummyCheckpoint(CONFIG, seed) for seed in (1, 1, 2))
    name = "model.layers.1.mlp.gate_proj"
    assert np.array_equal(one.ternary(name)[0], same.ternary(name)[0])
    assert one.ternary(name)[1] == same.ternary(name)[1]
    assert not np.array_equal(one.ternary(name)[0], other.ternary(name)[0])
    assert not np.array_equal(one.ternary(name)[0], one.ternary("model.layers.0.mlp.gate_proj")[0])
    assert np.array_equal(gains(one), gains(same))
    assert np.array_equal(one.lower_bounds(), same.lower_bounds())


def test_a_row_is_the_same_in_every_range():
    dummy = DummyCheckpoint(CONFIG, seed=3)
    whole = dummy.embedding_rows(0, CONFIG.vocab)
    assert whole.shape == (CONFIG.vocab, 130) and whole.dtype == np.float32
    cuts = ((0, 1), (5, 5), (BLOCK - 1, BLOCK + 1), (BLOCK, 2 * BLOCK), (700, CONFIG.vocab))
    for start, stop in cuts:
        assert np.array_equal(dummy.embedding_rows(start, stop), whole[start:stop])


def test_share_of_zeros_is_that_of_trained_models():
    codes, scale = DummyCheckpoint(CONFIG).ternary("lm_head")
    assert set(np.unique(codes)) == {-1, 0, 1}
    assert (codes == 0).mean() == pytest.approx(0.31, abs=0.01)
    assert abs(codes.mean()) < 0.01 and scale > 0


@pytest.mark.parametrize("name, millions", [("370M", 341.0), ("1.3B", 1298.7), ("2.7B", 2619.5)])
def test_presets_have_the_published_size(name, millions):
    shapes = tensor_shapes(PRESETS[name]).items()
    weights = sum(math.prod(shape) for tensor, shape in shapes
                  if tensor.endswith(("proj.weight", "head.weight")))
    assert weights / 1e6 == pytest.approx(millions, abs=0.05)


def test_only_what_is_asked_for_is_made():
    tracemalloc.start()
    try:
        dummy = DummyCheckpoint(PRESETS["2.7B"])
        dummy.gain("model.layers.31.mlp.down_proj.norm")
        dummy.embedding_rows(31_990, 32_000)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_outliers():
    dummy = DummyCheckpoint(CONFIG, seed=5, outliers=True)
    rows = np.abs(dummy.embedding_rows(0, CONFIG.vocab))
    assert 0.9 * OUTLIER < rows.max() <= OUTLIER
    assert (rows.max(axis=0) > OUTLIER / 2).sum() == 3         # one channel in 64, rounded up
    assert gains(dummy).max() / gains(dummy).min() > 900
    trace = {}
    logits = FloatModel(dummy).logits(np.arange(40), trace=trace)
    assert np.isfinite(logits).all()
    assert np.abs(trace["layers.1.mlp"]).max() > OUTLIER / 2


def test_residual_stays_small_without_outliers():
    trace = {}
    FloatModel(DummyCheckpoint(CONFIG, seed=5)).logits(np.arange(40), trace=trace)
    assert np.abs(trace["layers.1.mlp"]).max() < 50


def test_saved_model_comes_with_its_tokenizer(tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path)
    assert Checkpoint.open(tmp_path).tokenizer_path.exists()
    small = ModelConfig(hidden=8, intermediate=8, layers=1, vocab=257)
    DummyCheckpoint(small).save(tmp_path / "small")
    assert not Checkpoint.open(tmp_path / "small").tokenizer_path.exists()


def test_byte_tokenizer_has_a_token_per_byte():
    tokenizer = byte_tokenizer()
    assert tokenizer.get_vocab_size() == 258
    text = "Zürich, 日本, 🦉\n\0"
    begin, *tokens = tokenizer.encode(text).ids
    assert begin == 0 and len(tokens) == len(text.encode()) and min(tokens) >= 2
    assert tokenizer.decode(tokens) == text
