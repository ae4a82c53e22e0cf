"""What `-m` names, and images read as checkpoints."""

import contextlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tritstream
from tritstream import catalog
from tritstream.catalog import DEFAULT_MODEL, bundled_models, resolve
from tritstream.errors import BadInput, TritstreamWarning
from tritstream.golden import GoldenModel
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.image.unpack import ImageCheckpoint
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.dummy import DummyCheckpoint, byte_tokenizer
from tritstream.reference import FloatModel

CONFIG = ModelConfig(hidden=32, intermediate=48, layers=2, vocab=300, bos=0, eos=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tritstream" / "images"


@pytest.fixture
def directory(tmp_path):
    DummyCheckpoint(CONFIG, seed=3).save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def packed(tmp_path, directory):
    return pack(Checkpoint.open(directory), tmp_path / "model.trit")


# Names.

def test_checkpoint_directory_is_packed_once(directory, cache):
    told = []

    @contextlib.contextmanager
    def progress(what):
        told.append(what)
        yield lambda done, total: told.append((done, total))

    first = resolve(str(directory), progress)
    assert first.image.digest == Image(first.image.path).digest
    assert told[0] == f"packing {directory}" and len(told) == 1 + 6 * CONFIG.layers + 1
    done, totals = zip(*told[1:], strict=True)
    weights = 2 * (4 * 32 * 32 + 3 * 32 * 48) + 300 * 32
    assert list(done) == sorted(done) and done[-1] == weights and set(totals) == {weights}
    assert [path.parent for path in cache.glob("*.trit")] == [cache]
    told.clear()
    again = resolve(str(directory), progress)
    assert again.image.digest == first.image.digest
    assert not told


def test_the_cache_goes_by_contents(directory, tmp_path, cache):
    assert resolve(str(directory)).image.hidden == 32
    directory.rename(tmp_path / "elsewhere")
    assert resolve(str(tmp_path / "elsewhere")).image.hidden == 32
    assert len(list(cache.glob("*.trit"))) == 1
    DummyCheckpoint(CONFIG, seed=4).save(tmp_path / "elsewhere")
    assert resolve(str(tmp_path / "elsewhere")).image.hidden == 32
    assert len(list(cache.glob("*.trit"))) == 2


def test_a_damaged_cache_is_mended(directory, cache):
    digest = resolve(str(directory)).image.digest
    cached, = cache.glob("*.trit")
    cached.write_bytes(cached.read_bytes()[:-1])
    assert resolve(str(directory)).image.digest == digest


def test_a_cache_that_cannot_be_written(directory, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="images cannot hold .*set XDG_CACHE_HOME"):
        _ = resolve(str(directory)).image


def test_image_needs_no_cache(packed, cache):
    opened = resolve(str(packed.path))
    assert opened.image.digest == packed.digest
    assert opened.config == CONFIG
    assert opened.tokenizer.encode("ab") == byte_tokenizer().encode("ab").ids
    assert not cache.exists()


def test_bundled_model(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path / "bundled")
    assert bundled_models() == []
    place = tmp_path / "bundled" / "tiny"
    place.mkdir(parents=True)
    (place / "tiny.trit").write_bytes(packed.path.read_bytes())
    assert bundled_models() == ["tiny"]
    assert resolve("tiny").image.digest == packed.digest
    with pytest.raises(BadInput, match="no model 'tinny': give an image or .*, or tiny"):
        resolve("tinny")


def test_the_bundled_model_speaks():
    assert DEFAULT_MODEL in bundled_models()
    with tritstream.load(DEFAULT_MODEL) as model:
        pieces = list(model.generate("It was a dark night, and", max_tokens=8))
    assert "".join(pieces) == " the sky was dark and dark. The"


@pytest.mark.parametrize("eos, stops", [(None, ()), (3, (3,)), ([3], (3,)), ([3, 1], (3, 1))])
def test_every_stop_token_is_in_the_image(tmp_path, eos, stops):
    shape = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20, eos=eos)
    image = pack(DummyCheckpoint(shape), tmp_path / "i")
    assert image.stop_tokens == stops == ImageCheckpoint(image).config.stop_tokens
    assert image.stop_token == (stops[0] if stops else None)
    assert ImageCheckpoint(image).config == shape


def test_a_bare_name_means_the_programs_own_model(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("demo").path.name == "demo.trit"
    (tmp_path / "demo").mkdir()
    with pytest.warns(TritstreamWarning, match="demo means the model of that name; ./demo is what"):
        assert resolve("demo").path.name == "demo.trit"
    assert resolve("./demo").path == tmp_path / "demo" or resolve("./demo").path.is_dir()
    packed.path.rename("demo.trit")
    assert resolve("demo.trit").image.digest == packed.digest
    Path("demo.trit").rename("mine")
    assert resolve("mine").image.digest == packed.digest


def test_models_of_a_checkout(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "SOURCES", tmp_path)
    with pytest.raises(BadInput, match="in the source repository, as train/models/story-30m"):
        resolve("story-30m")
    (tmp_path / "story-30m").mkdir()
    packed.path.rename(tmp_path / "story-30m" / "story-30m.trit")
    assert resolve("story-30m").image.digest == packed.digest


def test_names_of_the_hub_are_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadInput, match="ridger/MMfreeLM-370M; if it is a name on the Hugging Face "
                                       r"Hub, run `pip install 'tritstream\[hub\]'`"):
        resolve("ridger/MMfreeLM-370M")


def test_names_of_the_hub_are_fetched(directory, monkeypatch):
    def download(name, allow_patterns):
        if name == "some/thing":
            raise OSError("offline\nand so on")
        assert (name, allow_patterns) == ("some/model", ["*.json", "*.safetensors", "*.jinja"])
        return str(directory)

    hub = types.SimpleNamespace(snapshot_download=download, errors=types.SimpleNamespace(
        HfHubHTTPError=KeyError))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert resolve("some/model").config == CONFIG
    with pytest.raises(BadInput, match=r"some/thing, and the .* does not give it \(offline\)"):
        resolve("some/thing")


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "/nowhere/to/be/found"])
def test_names_of_nothing(name):
    with pytest.raises(BadInput, match="There is no model|cannot be read"):
        _ = resolve(name).image


def test_a_vocabulary_that_no_image_holds(tmp_path):
    shape = ModelConfig(hidden=1, intermediate=1, layers=1, vocab=70_000)
    with pytest.raises(BadInput, match="vocab = 70000, but an image counts .* to 65535"):
        pack(DummyCheckpoint(shape), tmp_path / "i")


@pytest.mark.parametrize("settings, begins", [
    (None, True), ({}, True), ({"add_bos_token": True}, True), ({"add_bos_token": False}, False)])
def test_an_image_keeps_what_begins_a_text(directory, tmp_path, settings, begins):
    if settings is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    opened = resolve(str(directory))
    image = resolve(str(opened.image.path))
    assert (opened.tokenizer.encode("a")[0] == 0) is begins
    assert image.tokenizer.encode("a") == opened.tokenizer.encode("a")


def test_image_without_tokenizer(tmp_path):
    config = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
    image = pack(DummyCheckpoint(config), tmp_path / "bare.trit")
    with pytest.raises(BadInput, match="packed without a tokenizer"):
        _ = resolve(str(image.path)).tokenizer


def test_neither_image_nor_directory(tmp_path):
    (tmp_path / "letter").write_text("Dear reader, ")
    with pytest.raises(BadInput, match="is no tritstream image"):
        _ = resolve(str(tmp_path / "letter")).image
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="config.json cannot be read"):
        _ = resolve(str(tmp_path / "empty")).image


# An image as a checkpoint.

def names(suffix):
    return [name.removesuffix(".weight") for name in tensor_shapes(CONFIG)
            if name.endswith(suffix)]


def test_trits_and_scales_are_exact(directory, packed):
    checkpoint, image = Checkpoint.open(directory), ImageCheckpoint(packed)
    for name in names("_proj.weight") + ["lm_head"]:
        codes, scale = checkpoint.ternary(name)
        found, found_scale = image.ternary(name)
        assert np.array_equal(found, codes), name
        assert found_scale == scale, name


def test_gains_are_those_of_the_checkpoint_rounded(directory, packed):
    checkpoint, image = Checkpoint.open(directory), ImageCheckpoint(packed)
    for name in names("norm.weight"):
        gain = checkpoint.gain(name)
        assert np.allclose(image.gain(name), gain, rtol=1e-3, atol=1e-3 * gain.max()), name


def test_rows_and_bounds(directory, packed):
    checkpoint, image = Checkpoint.open(directory), ImageCheckpoint(packed)
    rows = checkpoint.embedding_rows(7, 30)
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(image.embedding_rows(7, 30) - rows) <= 0.51 * step).all()
    assert np.allclose(image.lower_bounds(), checkpoint.lower_bounds(), atol=1 / 65536)


def test_wide_rows(tmp_path):
    dummy = DummyCheckpoint(CONFIG, seed=3, outliers=True)
    packed = pack(dummy, tmp_path / "wide")
    assert packed.row(0)[3] == 1
    rows = dummy.embedding_rows(0, 300)
    step = np.abs(rows).max(axis=1, keepdims=True)
    assert (np.abs(ImageCheckpoint(packed).embedding_rows(0, 300) - rows) <= 2e-5 * step).all()
    tokens = np.random.default_rng(1).integers(0, CONFIG.vocab, 20)
    golden = GoldenModel(packed)
    expected = golden.forward(tokens[None], golden.new_state()).real().astype(float)
    found = FloatModel(ImageCheckpoint(packed)).logits(tokens)
    cosine = (expected * found).sum(-1) / np.linalg.norm(expected, axis=-1) / np.linalg.norm(
        found, axis=-1)
    assert np.median(cosine) > 0.95


def test_the_float_reference_runs_on_an_image(directory, packed):
    tokens = np.random.default_rng(1).integers(0, CONFIG.vocab, 40)
    expected = FloatModel(Checkpoint.open(directory)).logits(tokens)
    found = FloatModel(ImageCheckpoint(packed)).logits(tokens)
    cosine = (expected * found).sum(-1) / np.linalg.norm(expected, axis=-1) / np.linalg.norm(
        found, axis=-1)
    assert cosine.mean() > 0.999


def test_names_that_are_not_there(packed):
    image = ImageCheckpoint(packed)
    with pytest.raises(BadInput, match="no gain model.layers.9.attn_norm"):
        image.gain("model.layers.9.attn_norm")
    with pytest.raises(BadInput, match="no matrix model.embeddings"):
        image.ternary("model.embeddings")
