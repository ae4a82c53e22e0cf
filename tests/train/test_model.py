"""The model in PyTorch, against the float reference and the published layout."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from transformer import Transformer
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.dummy import DummyCheckpoint
from tritstream.model.tensors import TensorFile, write_tensors
from tritstream.reference import FloatModel
from tritstream_train.kernels import ternary
from tritstream_train.model.hgrn import IGNORE, HGRNBit
from tritstream_train.model.load import load_pretrained

CONFIG = ModelConfig(hidden=64, intermediate=96, layers=3, vocab=80, eps=1e-5, bos=0, eos=1)
TOKENS = torch.from_numpy(np.random.default_rng(8).integers(0, CONFIG.vocab, (2, 24)))


def cosine(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    return ((ours * theirs).sum(-1) / lengths).mean()


def save(model, path):
    """Write the parameters as they are, as an exporter does."""
    DummyCheckpoint(model.config).save(path)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    write_tensors(path / "model.safetensors", "F32", tensor_shapes(model.config),
                  (tensors[name] for name in tensor_shapes(model.config)))
    return path


def random_model(config=CONFIG, **options):
    torch.manual_seed(3)
    model = HGRNBit(config, dtype=torch.float32, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_((0.2 * torch.randn_like(parameter)).exp())
            elif name.endswith("lower_bounds"):
                parameter.normal_()
    return model


def test_parameters_have_the_published_names_and_shapes():
    for use_lower_bound in (False, True):
        config = ModelConfig(hidden=32, intermediate=48, layers=2, vocab=40,
                             use_lower_bound=use_lower_bound)
        state = HGRNBit(config).state_dict()
        assert {name: tuple(value.shape) for name, value in state.items()} == tensor_shapes(config)
        assert all(value.dtype == torch.float32 for value in state.values())


@pytest.mark.parametrize("use_lower_bound", [False, True])
@torch.no_grad()
def test_agrees_with_the_reference_on_random_weights(tmp_path, use_lower_bound):
    config = ModelConfig(hidden=64, intermediate=96, layers=3, vocab=80, eps=1e-5, bos=0, eos=1,
                         use_lower_bound=use_lower_bound)
    model = random_model(config)
    reference = FloatModel(Checkpoint.open(save(model, tmp_path)))
    assert cosine(model(TOKENS), reference.logits(TOKENS.numpy())) >= 0.9999


@torch.no_grad()
def test_a_ternary_checkpoint_keeps_codes_and_scale(tmp_path):
    DummyCheckpoint(CONFIG, seed=4).save(tmp_path, "F32", shards=2)
    model = load_pretrained(tmp_path, dtype=torch.float32)
    reference = FloatModel(Checkpoint.open(tmp_path))
    ours, theirs = model(TOKENS).numpy(), reference.logits(TOKENS.numpy())
    assert cosine(ours, theirs) >= 0.9999
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=0.01)


@torch.no_grad()
def test_a_tied_head_that_is_ternary_keeps_codes_and_scale(tmp_path):
    DummyCheckpoint(CONFIG, seed=4).save(tmp_path, "F32")
    config = json.loads((tmp_path / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    file = TensorFile(tmp_path / "model.safetensors")
    tensors = {name: file.read(name) for name in file.entries}
    tensors["model.embeddings.weight"] = np.sign(tensors["model.embeddings.weight"].round())
    del tensors["lm_head.weight"]
    write_tensors(tmp_path / "model.safetensors", "F32",
                  {name: values.shape for name, values in tensors.items()}, tensors.values())
    ours = load_pretrained(tmp_path, dtype=torch.float32)(TOKENS).numpy()
    theirs = FloatModel(Checkpoint.open(tmp_path)).logits(TOKENS.numpy())
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=0.01)


@torch.no_grad()
def test_state_carries_over_any_cut():
    model = random_model()
    whole, state = model(TOKENS), model.new_state(2)
    parts = [model(TOKENS[:, :1], state=state), model(TOKENS[:, 1:9], state=state),
             model(TOKENS[:, 9:], state=state)]
    assert cosine(torch.cat(parts, dim=1), whole) >= 0.9999


@torch.no_grad()
def test_loss_is_the_mean_over_the_targets_that_count():
    model = random_model()
    targets = TOKENS.roll(-1, 1)
    targets[:, -1] = IGNORE
    expected = -model(TOKENS).log_softmax(-1)[:, :-1].gather(2, targets[:, :-1, None]).mean()
    assert model.loss(TOKENS, targets) == pytest.approx(expected.item(), rel=1e-5)


def test_training_carries_a_state_on():
    model = random_model()
    state = model.new_state(2).normal_()
    before = state.clone()
    model.loss(TOKENS, TOKENS.roll(-1, 1), state).backward()
    assert not torch.equal(state, before) and not state.requires_grad


def test_every_parameter_learns():
    model = random_model()
    model.loss(TOKENS, TOKENS.roll(-1, 1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("dropout", [0, 0.3])
def test_fused_gradients_are_those_of_the_plain_path(monkeypatch, dropout):
    monkeypatch.setattr(ternary, "PARTS", 2)        # the interpreter has no use for more
    config = ModelConfig(hidden=32, intermediate=48, layers=2, vocab=40, eps=1e-5, bos=0, eos=1)
    model = random_model(config, dropout=dropout)
    tokens = TOKENS[:, :6] % config.vocab
    targets = tokens.roll(-1, 1)
    targets[:, -1] = IGNORE
    results = []
    for model.fused in (False, True):
        state = model.new_state(2) + 0.1
        model.zero_grad()
        torch.manual_seed(6)                        # both drop the same
        loss = model.loss(tokens, targets, state)
        loss.backward()
        results.append((loss.item(), state, [p.grad for p in model.parameters()]))
    (plain, plain_state, expected), (fused, fused_state, gradients) = results
    assert fused == pytest.approx(plain, rel=1e-3)
    torch.testing.assert_close(fused_state, plain_state, rtol=0.01, atol=0.01)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()
    model.eval()
    with torch.no_grad():
        logits = model(tokens)
        model.fused = False
        assert cosine(logits, model(tokens)) >= 0.9999


@torch.no_grad()
@pytest.mark.parametrize("make", [HGRNBit, Transformer])
def test_channels_drop_in_training_only(make):
    config = ModelConfig(hidden=64, intermediate=48, layers=2, vocab=40, bos=0, eos=1)
    model = make(config, dtype=torch.float32, dropout=0.25)
    embedded, added = [], []
    model.model.layers[0].register_forward_pre_hook(lambda layer, inputs: embedded.append(inputs))
    model.model.layers[0].dropout.register_forward_hook(lambda *call: added.append(call[1:]))
    torch.manual_seed(7)
    first, second = model(TOKENS % 40), model(TOKENS % 40)
    assert not torch.equal(first, second)
    assert (embedded[0][0] == 0).float().mean() == pytest.approx(0.25, abs=0.05)
    for (whole,), left in added:
        kept = left != 0
        assert kept.float().mean() == pytest.approx(0.75, abs=0.05)
        torch.testing.assert_close(left[kept], whole[kept] / 0.75)
    model.eval()
    torch.testing.assert_close(model(TOKENS % 40), model(TOKENS % 40), rtol=0, atol=0)
    assert (embedded[-1][0] != 0).all()


def test_initial_loss_is_that_of_a_uniform_guess():
    torch.manual_seed(5)
    loss = HGRNBit(CONFIG).loss(TOKENS, TOKENS.roll(-1, 1))
    assert loss.item() == pytest.approx(np.log(CONFIG.vocab), rel=0.1)


# The real checkpoint is too large to keep here: name its directory to compare with the logits that
# the authors' own code computed from it.
if "TRITSTREAM_CLASSICS" in os.environ:
    @torch.no_grad()
    def test_authors_logits():
        path = Path(os.environ["TRITSTREAM_CLASSICS"])
        with np.load(path / "io.npz") as data:
            tokens, authors = data["ids"], data["logits"]
        ours = load_pretrained(path, dtype=torch.float32)(torch.from_numpy(tokens).long()).numpy()
        theirs = FloatModel(Checkpoint.open(path)).logits(tokens)
        assert cosine(ours, theirs) >= 0.9999
        assert cosine(ours, authors) >= 0.9999
