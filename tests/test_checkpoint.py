"""Loading of checkpoints: what is read, and what is refused with a sentence."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from tritstream.errors import BadInput
from tritstream.model import checkpoint as module
from tritstream.model.checkpoint import Checkpoint, lower_bounds, ternarise
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.dummy import DummyCheckpoint
from tritstream.model.tensors import TensorFile, write_tensors

CONFIG = ModelConfig(hidden=12, intermediate=20, layers=2, vocab=30, bos=0, eos=1)
MASTER = {"model_type": "hgrn_bit", "hidden_size": 12, "intermediate_size": 20,
          "num_hidden_layers": 2, "vocab_size": 30, "bos_token_id": 0, "eos_token_id": 1}


def write(directory, tensors, config=MASTER):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    shapes = {name: values.shape for name, values in tensors.items()}
    write_tensors(directory / "model.safetensors", "F32", shapes, tensors.values())
    return directory


@pytest.fixture
def tensors():
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in tensor_shapes(CONFIG).items()}


def test_master_weights(tmp_path, tensors):
    checkpoint = Checkpoint.open(write(tmp_path / "m", tensors))
    assert checkpoint.config == CONFIG
    assert checkpoint.tokenizer_path == tmp_path / "m" / "tokenizer.json"
    rows = checkpoint.embedding_rows(4, 9)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, tensors["model.embeddings.weight"][4:9])
    gain = checkpoint.gain("model.layers.1.mlp.down_proj.norm")
    assert np.array_equal(gain, tensors["model.layers.1.mlp.down_proj.norm.weight"])
    weight = tensors["model.layers.0.mlp.gate_proj.weight"].astype(np.float64)
    codes, scale = checkpoint.ternary("model.layers.0.mlp.gate_proj")
    assert codes.dtype == np.int8 and codes.shape == (40, 12)
    assert scale == pytest.approx(np.abs(weight).mean(), rel=1e-12)
    assert np.array_equal(codes, np.clip(np.rint(weight / scale), -1, 1))
    assert np.array_equal(checkpoint.lower_bounds(), lower_bounds(tensors["model.lower_bounds"]))
    found = dict(checkpoint.tensors())
    assert list(found) == list(tensors)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_type_and_sharding_is_the_same_model(tmp_path, dtype, shards):
    dummy = DummyCheckpoint(CONFIG, seed=4)
    dummy.save(tmp_path, dtype, shards)
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.config == CONFIG
    assert set(checkpoint.files) == {tmp_path / "config.json", *tmp_path.glob("*.safetensors")}
    assert np.array_equal(checkpoint.embedding_rows(0, 30), dummy.embedding_rows(0, 30))
    assert np.array_equal(checkpoint.lower_bounds(), dummy.lower_bounds())
    for name in (n.removesuffix(".weight") for n in tensor_shapes(CONFIG)):
        if name.endswith("norm"):
            assert np.array_equal(checkpoint.gain(name), dummy.gain(name))
        elif name.endswith(("proj", "head")):
            codes, scale = checkpoint.ternary(name)
            assert np.array_equal(codes, dummy.ternary(name)[0])
            assert scale == dummy.ternary(name)[1]


def test_tied_embeddings(tmp_path, tensors):
    del tensors["lm_head.weight"]
    tied = Checkpoint.open(write(tmp_path, tensors, MASTER | {"tie_word_embeddings": True}))
    codes, scale = tied.ternary("lm_head")
    expected, expected_scale = ternarise(tensors["model.embeddings.weight"])
    assert np.array_equal(codes, expected) and scale == expected_scale
    assert tied.gain("lm_head.norm").shape == (12,)
    assert np.array_equal(dict(tied.tensors())["lm_head.weight"],
                          tensors["model.embeddings.weight"])


def test_no_lower_bounds(tmp_path, tensors):
    config = MASTER | {"use_lower_bound": False}
    kept = Checkpoint.open(write(tmp_path, tensors, config))
    assert dict(kept.tensors()).keys() == tensors.keys() - {"model.lower_bounds"}
    del tensors["model.lower_bounds"]
    absent = Checkpoint.open(write(tmp_path, tensors, config))
    for checkpoint in (kept, absent):
        assert not checkpoint.lower_bounds().any()
        assert checkpoint.lower_bounds().shape == (2, 12)


def test_lower_bounds_rise_from_zero():
    raw = np.random.default_rng(0).standard_normal((5, 8)) * 30
    bounds = lower_bounds(raw)
    share = np.exp(raw) / np.exp(raw).sum(axis=0)
    assert bounds == pytest.approx(np.cumsum(share, axis=0) - share[0], abs=1e-12)
    assert not bounds[0].any()
    assert (np.diff(bounds, axis=0) >= 0).all() and bounds.max() <= 1


@pytest.mark.parametrize("hidden, expected", [(1024, 2816), (2048, 5632), (2560, 6912), (256, 768)])
def test_intermediate_size_of_the_published_models(hidden, expected):
    config = MASTER | {"hidden_size": hidden, "intermediate_size": None, "hidden_ratio": 4}
    assert ModelConfig.from_json(config).intermediate == expected


def test_config_round_trip():
    config = ModelConfig(hidden=8, intermediate=5, layers=1, vocab=9, eps=1e-5, bos=None, eos=3,
                         use_lower_bound=False)
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("eos, stops", [(None, ()), ([], ()), (1, (1,)), ([1], (1,)),
                                        ([5, 1], (5, 1))])
def test_one_stop_token_or_several(eos, stops):
    config = ModelConfig.from_json(MASTER | {"eos_token_id": eos})
    assert config.stop_tokens == stops
    assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("key, value, message", [
    ("model_type", "llama", "model_type is 'llama', but only 'hgrn_bit'"),
    ("model_type", None, "model_type is None"),
    ("use_short_conv", True, "use_short_conv is True, but short convolutions"),
    ("expand_ratio", 2, "expand_ratio is 2, but only 1"),
    ("num_heads", 4, "num_heads is 4, but only 1"),
    ("hidden_act", "gelu", "hidden_act is 'gelu', but only swish"),
    ("hidden_act", ["swish"], "hidden_act is "),
    ("hidden_size", 0, "hidden_size must be an integer of 1 to 2147483647, not 0"),
    ("hidden_size", "12", "hidden_size must be an integer of 1 to 2147483647, not '12'"),
    ("num_hidden_layers", True, "num_hidden_layers must be an integer of 1 to .*, not True"),
    ("vocab_size", None, "vocab_size must be an integer of 1 to 2147483647, not None"),
    ("intermediate_size", -5, "intermediate_size must be an integer of 1 to 2147483647, not -5"),
    ("rms_norm_eps", 0, "rms_norm_eps must be a positive number, at most 1e.30, not 0"),
    ("rms_norm_eps", "x", "rms_norm_eps must be a positive number, at most 1e.30, not 'x'"),
    ("num_hidden_layers", 2147483647, "calls for 2147483647 layers, but there are only 35 tensors"),
    ("num_hidden_layers", 2147483648, "num_hidden_layers must be an integer of 1 to 2147483647"),
    ("hidden_size", 10**400, "hidden_size must be an integer .*, not a longer number"),
    ("intermediate_size", 10**18, "intermediate_size must be an integer of 1 to"),
    ("rms_norm_eps", 10**400, "rms_norm_eps must be a positive number, .*, not a longer number"),
    ("use_lower_bound", "no", "use_lower_bound must be true or false, not 'no'"),
    ("bos_token_id", 30, "bos must be null or a token below vocab = 30, not 30"),
    ("eos_token_id", -1, "eos must be null or a token below vocab = 30, not -1"),
    ("eos_token_id", [1, 30], r"eos must be null or a token below vocab = 30, not \(1, 30\)"),
])
def test_unsupported_config(tmp_path, tensors, key, value, message):
    write(tmp_path, tensors, MASTER | {key: value})
    with pytest.raises(BadInput, match="config.json:? " + message):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("text, message", [
    ("{", "is not JSON"), ("[1]", "must hold a JSON object, not a list"), (None, "cannot be read"),
])
def test_broken_config_file(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput, match=f"config.json .*{message}"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("ratio", [1e300, "4", True, 0])
def test_a_hidden_ratio_that_is_none(tmp_path, tensors, ratio):
    config = MASTER | {"intermediate_size": None, "hidden_ratio": ratio}
    with pytest.raises(BadInput, match="config.json: hidden_ratio must be a positive number"):
        Checkpoint.open(write(tmp_path, tensors, config))


def test_json_nested_without_end(tmp_path, tensors):
    write(tmp_path, tensors)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(BadInput, match="config.json is not JSON: it is nested too deep"):
        Checkpoint.open(tmp_path)


def test_json_without_end(tmp_path, tensors):
    write(tmp_path, tensors)
    (tmp_path / "config.json").write_text(" " * (17 << 20))
    with pytest.raises(BadInput, match="config.json has 17,825,792 bytes, more than"):
        Checkpoint.open(tmp_path)


def test_byte_order_marks(tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=2)
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text(), encoding="utf-8-sig")
    assert Checkpoint.open(tmp_path).config == CONFIG


def test_what_says_when_to_stop(tmp_path, tensors):
    """As transformers reads it: the generation's config goes before the model's."""
    write(tmp_path, tensors)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 1]}')
    assert Checkpoint.open(tmp_path).config.stop_tokens == (7, 1)
    assert Checkpoint.open(tmp_path).config.bos == 0
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 30]}')
    with pytest.raises(BadInput, match="eos must be null or a token below vocab = 30"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json",
                                  "model.safetensors.index.json"])
@pytest.mark.parametrize("kind", ["fifo", "endless", "directory", "pointer"])
def test_what_is_no_file_is_not_read(tmp_path, tensors, name, kind):
    write(tmp_path, tensors)
    (tmp_path / name).unlink(missing_ok=True)
    said = f"{name} is not a regular file"
    if kind == "fifo":
        os.mkfifo(tmp_path / name)
    elif kind == "endless":
        (tmp_path / name).symlink_to("/dev/zero")
    elif kind == "directory":
        (tmp_path / name).mkdir()
        said = f"{name} is a directory"
    else:
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\n" * 3)
        said = f"{name} is only Git LFS's pointer"
    with pytest.raises(BadInput, match=said):
        Checkpoint.open(tmp_path)


def test_old_shards_beside_a_single_file(tmp_path, tensors):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=2)
    write(tmp_path, tensors)
    with pytest.raises(BadInput, match="holds model.safetensors, and model.safetensors.index.json "
                                       ".*: only one of them is the model"):
        Checkpoint.open(tmp_path)


def test_an_index_of_a_single_file(tmp_path, tensors):
    write(tmp_path, tensors)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(
        {"weight_map": dict.fromkeys(tensors, "model.safetensors")}))
    assert Checkpoint.open(tmp_path).config == CONFIG


def test_tensors_as_programs(tmp_path, tensors):
    write(tmp_path, tensors)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="holds its tensors as .bin files, .* convert them to safet"):
        Checkpoint.open(tmp_path)


def test_missing_tensor(tmp_path, tensors):
    del tensors["model.layers.1.attn.g_norm.weight"]
    with pytest.raises(BadInput, match=r"no tensor model.layers.1.attn.g_norm.weight, .*\[12\]"):
        Checkpoint.open(write(tmp_path, tensors))


def test_tensor_that_has_no_place(tmp_path, tensors):
    tensors["lm_head.bias"] = np.zeros(30, np.float32)
    with pytest.raises(BadInput, match="Tensor lm_head.bias in .* has no place"):
        Checkpoint.open(write(tmp_path, tensors))


def test_shape_against_config(tmp_path, tensors):
    message = r"has shape \[40, 12\], but config.json calls for \[42, 12\]"
    with pytest.raises(BadInput, match=message):
        Checkpoint.open(write(tmp_path, tensors, MASTER | {"intermediate_size": 21}))


def test_type_that_is_not_read(tmp_path, tensors):
    write(tmp_path, tensors)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    with pytest.raises(BadInput, match="is of type I32, but only F32, F16, BF16"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("name, read", [
    ("model.embeddings.weight", lambda c: c.embedding_rows(0, 30)),
    ("model.lower_bounds", lambda c: c.lower_bounds()),
    ("model.norm.weight", lambda c: c.gain("model.norm")),
    ("lm_head.weight", lambda c: c.ternary("lm_head")),
])
def test_not_a_number(tmp_path, tensors, name, read):
    tensors[name].flat[-1] = np.nan
    with pytest.raises(BadInput, match=f"Tensor {name} in .*model.safetensors holds NaN or inf"):
        read(Checkpoint.open(write(tmp_path, tensors)))


def test_missing_shard(tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(BadInput, match="model-00002-of-00003.safetensors is missing, a shard"):
        Checkpoint.open(tmp_path)


def test_index_that_expects_a_tensor_elsewhere(tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"]["lm_head.weight"] = table["weight_map"]["lm_head.norm.weight"]
    index.write_text(json.dumps(table))
    with pytest.raises(BadInput, match="does not hold tensor lm_head.weight, which model.safetens"):
        Checkpoint.open(tmp_path)


def test_tensor_that_the_index_does_not_name(tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    shard = json.loads(index.read_text())["weight_map"]["lm_head.norm.weight"]
    values = {name: TensorFile(tmp_path / shard).read(name)
              for name in TensorFile(tmp_path / shard).entries} | {"extra": np.ones(2)}
    write_tensors(tmp_path / shard, "F32", {name: value.shape for name, value in values.items()},
                  values.values())
    with pytest.raises(BadInput, match=f"{shard} holds tensor extra, which model.safetensors.ind"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("table", [{}, {"weight_map": []}, {"weight_map": {"a": 3}},
                                   {"weight_map": {"a": "../b"}}])
def test_broken_index(tmp_path, table):
    DummyCheckpoint(CONFIG).save(tmp_path, shards=2)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(table))
    with pytest.raises(BadInput, match="must hold a weight_map"):
        Checkpoint.open(tmp_path)


def test_rounding_is_half_to_even():
    weight = np.array([[1.0, -1.0, 3.0, -3.0], [2.0, 2.0, 2.0, 2.0]])     # mean magnitude 2
    codes, scale = ternarise(weight)
    assert scale == 2
    assert codes.tolist() == [[0, 0, 1, -1], [1, 1, 1, 1]]


def test_ternary_weights_keep_codes_and_scale():
    codes = np.random.default_rng(1).integers(-1, 2, (17, 9)).astype(np.int8)
    again, scale = ternarise(codes * np.float32(0.0371))
    assert np.array_equal(again, codes)
    assert scale == np.float32(0.0371)


def test_zeros_have_the_least_scale():
    codes, scale = ternarise(np.zeros((3, 4), np.float32))
    assert not codes.any() and scale == 1e-5


def test_chunks_do_not_show(monkeypatch):
    weight = np.random.default_rng(2).standard_normal((50, 7)).astype(np.float32)
    codes, scale = ternarise(weight)
    monkeypatch.setattr(module, "CHUNK", 20)
    again, scale_again = ternarise(weight)
    assert np.array_equal(again, codes) and scale_again == pytest.approx(scale, rel=1e-14)


def test_memory_is_that_of_one_tensor(tmp_path):
    config = ModelConfig(hidden=128, intermediate=256, layers=12, vocab=2000, bos=0, eos=1)
    DummyCheckpoint(config).save(tmp_path, "BF16")
    largest = 2000 * 128 * 4
    tracemalloc.start()
    try:
        checkpoint = Checkpoint.open(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < largest / 2
        for name in (n.removesuffix(".weight") for n in tensor_shapes(config)):
            if name.endswith(("proj", "head")):
                checkpoint.ternary(name)
        assert tracemalloc.get_traced_memory()[1] < 6 * largest
    finally:
        tracemalloc.stop()
