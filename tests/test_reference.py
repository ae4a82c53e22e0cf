"""The float reference, against a plain transcription of the model's equations and a real model."""

import os
from pathlib import Path

import numpy as np
import pytest

from tritstream.errors import BadInput
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.reference import EXACT_COLUMNS, FloatModel

CONFIG = ModelConfig(hidden=48, intermediate=80, layers=3, vocab=70, eps=1e-5, bos=0, eos=1)
TOKENS = np.random.default_rng(8).integers(0, CONFIG.vocab, 24)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rms(x, gain, eps):
    return x / np.sqrt((x ** 2).mean() + eps) * gain


def plain_logits(checkpoint, tokens):
    """One token, one vector, one equation at a time, all in float64."""
    config = checkpoint.config

    def bit(x, name):
        y = rms(x, checkpoint.gain(f"{name}.norm").astype(np.float64), 1e-6)
        codes, b = checkpoint.ternary(name)
        s = 127 / max(np.abs(y).max(), 1e-5)
        q = np.clip(np.trunc(y * s + np.copysign(0.5, y)), -128, 127)
        return codes.astype(np.float64) @ q * b / s

    bounds = checkpoint.lower_bounds()
    h = np.zeros((config.layers, config.hidden))
    for token in tokens:
        x = checkpoint.embedding_rows(token, token + 1)[0].astype(np.float64)
        for n in range(config.layers):
            prefix = f"model.layers.{n}"
            y = rms(x, checkpoint.gain(f"{prefix}.attn_norm"), config.eps)
            i, g = bit(y, f"{prefix}.attn.i_proj"), bit(y, f"{prefix}.attn.g_proj")
            f = sigmoid(bit(y, f"{prefix}.attn.f_proj"))
            if config.use_lower_bound and n > 0:
                f = bounds[n] + (1 - bounds[n]) * f
            h[n] = f * h[n] + i * sigmoid(i) * (1 - f)
            z = rms(g, checkpoint.gain(f"{prefix}.attn.g_norm"), config.eps) * h[n] * sigmoid(h[n])
            x = x + bit(z, f"{prefix}.attn.o_proj")
            y = rms(x, checkpoint.gain(f"{prefix}.mlp_norm"), config.eps)
            a, b = np.split(bit(y, f"{prefix}.mlp.gate_proj"), 2)
            x = x + bit(a * sigmoid(a) * b, f"{prefix}.mlp.down_proj")
        yield bit(rms(x, checkpoint.gain("model.norm"), config.eps), "lm_head")


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("use_lower_bound", [False, True])
def test_follows_the_equations(outliers, use_lower_bound):
    config = ModelConfig(hidden=48, intermediate=80, layers=3, vocab=70, eps=1e-5, bos=0, eos=1,
                         use_lower_bound=use_lower_bound)
    dummy = DummyCheckpoint(config, seed=6, outliers=outliers)
    expected = np.array(list(plain_logits(dummy, TOKENS)))
    logits = FloatModel(dummy).logits(TOKENS)
    assert logits.shape == (len(TOKENS), config.vocab) and logits.dtype == np.float64
    assert logits == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.fixture(scope="module")
def model():
    return FloatModel(DummyCheckpoint(CONFIG, seed=9))


def test_state_carries_over_any_cut(model):
    whole = model.logits(TOKENS)
    state = model.new_state()
    parts = [model.logits(TOKENS[:1], state), model.logits(TOKENS[1:9], state)]
    parts += [model.step(token, state)[None] for token in TOKENS[9:]]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-9, abs=1e-9)
    assert state.shape == (3, 48) and state.any(axis=1).all()


def test_sequences_side_by_side_do_not_mix(model):
    batch = np.stack([TOKENS, TOKENS[::-1], np.roll(TOKENS, 5)])
    state = model.new_state(3)
    logits = model.logits(batch, state)
    assert logits.shape == (3, len(TOKENS), CONFIG.vocab)
    for sequence, own_logits, own_state in zip(batch, logits, state, strict=True):
        alone = model.new_state()
        assert own_logits == pytest.approx(model.logits(sequence, alone), rel=1e-9, abs=1e-9)
        assert own_state == pytest.approx(alone, rel=1e-9, abs=1e-9)


def test_trace_has_every_stage(model):
    trace = {}
    model.logits(TOKENS, trace=trace)
    stages = [f"layers.{n}.{stage}" for n in range(3) for stage in ("t", "attn", "p", "mlp")]
    assert list(trace) == ["embedding", *stages]
    for name, vector in trace.items():
        assert vector.shape == (len(TOKENS), 80 if name.endswith(".p") else 48)
    rows = DummyCheckpoint(CONFIG, seed=9).embedding_rows(0, CONFIG.vocab)
    assert np.array_equal(trace["embedding"], rows[TOKENS])


@pytest.mark.parametrize("token", [-1, 70, 1 << 40])
def test_token_out_of_range(model, token):
    with pytest.raises(BadInput, match=f"Token {token} is out of range: .* 0 to 69"):
        model.logits([3, token])


def test_model_too_wide_for_exact_sums():
    config = ModelConfig(hidden=8, intermediate=EXACT_COLUMNS + 1, layers=1, vocab=4)
    with pytest.raises(BadInput, match="exact up to 131072 columns, but the model has 131073"):
        FloatModel(DummyCheckpoint(config))


# The real checkpoint is too large to keep here: name its directory to compare with the logits that
# the authors' own code computed from it.
if "TRITSTREAM_CLASSICS" in os.environ:
    def test_authors_logits():
        path = Path(os.environ["TRITSTREAM_CLASSICS"])
        with np.load(path / "io.npz") as data:
            tokens, expected = data["ids"], data["logits"].astype(np.float64)
        logits = FloatModel(Checkpoint.open(path)).logits(tokens)
        lengths = np.linalg.norm(logits, axis=-1) * np.linalg.norm(expected, axis=-1)
        cosine = (logits * expected).sum(axis=-1) / lengths
        assert cosine.mean() >= 0.9999
        assert (logits.argmax(axis=-1) == expected.argmax(axis=-1)).mean() >= 0.98
