"""A trained model goes to `pack` and comes back."""

import json
import os

import numpy as np
import pytest
import torch

import tritstream
from tritstream.catalog import resolve
from tritstream.errors import BadInput
from tritstream.image.pack import pack
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.reference import FloatModel
from tritstream_train.config import TrainConfig
from tritstream_train.data.vocabulary import learn_tokenizer
from tritstream_train.model.export import export, made_aside
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.model.load import load_pretrained
from tritstream_train.run.loop import train

CONFIG = ModelConfig(hidden=16, intermediate=24, layers=2, vocab=262, bos=0, eos=1)
TEXT = "the river runs and the stone falls. " * 40


@pytest.fixture
def weights():
    torch.manual_seed(1)
    return dict(HGRNBit(CONFIG).state_dict())


def test_from_text_to_an_image_and_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    config = TrainConfig(data=str(tmp_path / "text.txt"), hidden=16, intermediate=24, layers=2,
                         vocab=262, sequence=32, batch=4, steps=60, warmup=5, rate=0.02,
                         dtype="float32")
    exported = train(config, tmp_path / "run").model
    pack(Checkpoint.open(exported), tmp_path / "model.trit")
    model = resolve(str(tmp_path / "model.trit"))
    tokens = model.tokenizer.encode("the river")
    with tritstream.load(model) as loaded:
        golden = loaded.logits(tokens)
    loaded = load_pretrained(exported, dtype=torch.float32)
    with torch.no_grad():
        logits = loaded(torch.tensor([tokens]))[0].double().numpy()
    reference = FloatModel(Checkpoint.open(exported)).logits(tokens)
    for one in (golden, reference):
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(logits, axis=1)
        cosine = (one * logits).sum(1) / lengths
        assert cosine.mean() > 0.999


def test_weights_come_back_to_the_last_bit(tmp_path, weights):
    export(weights, CONFIG, learn_tokenizer([TEXT], 262), tmp_path / "model")
    assert Checkpoint.open(tmp_path / "model").config == CONFIG
    for name, value in load_pretrained(tmp_path / "model").state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_an_export_takes_the_place_of_the_one_before(tmp_path, weights):
    for vocab in (260, 262):
        export(weights, CONFIG, learn_tokenizer([TEXT], vocab), tmp_path / "model")
    tokenizer = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) == 262
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_is_not_exported(tmp_path, weights, value):
    weights["lm_head.weight"][3, 5] = value
    with pytest.raises(BadInput, match="Tensor lm_head.weight has .*nothing was exported"):
        export(weights, CONFIG, b"{}", tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, weights):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        export(weights, CONFIG, b"{}", tmp_path / "file" / "model")


def test_files_are_flushed_before_they_are_renamed(tmp_path, weights, monkeypatch):
    flushed, known = set(), []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: [flushed.add(os.fstat(handle).st_ino),
                                                     fsync(handle)])
    monkeypatch.setattr(os, "replace", lambda *paths: [known.append(set(flushed)),
                                                       replace(*paths)])
    export(weights, CONFIG, b"{}", tmp_path / "model")
    assert {path.stat().st_ino for path in (tmp_path / "model").iterdir()} <= known[0]


def test_an_error_of_something_else_is_none_of_writing(tmp_path):
    with pytest.raises(TimeoutError), made_aside(tmp_path / "model"):
        raise TimeoutError("the port is silent")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="model cannot be written"), \
            made_aside(tmp_path / "file" / "model"):
        pass
