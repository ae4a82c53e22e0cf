"""Settings, schedules, optimisers, validation, and a whole small run."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tritstream.analysis.evaluate import evaluate
from tritstream.errors import BadInput, DeviceError
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.tokenizer import Tokenizer
from tritstream.reference import FloatModel
from tritstream_train.config import TrainConfig, preset, presets
from tritstream_train.data.validation import Validation
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.model.load import build, load_pretrained
from tritstream_train.optim.adamw import make_optimizer, rate_factor, set_rates
from tritstream_train.run.curve import Curve, Record, draw
from tritstream_train.run.distributed import Processes
from tritstream_train.run.loop import train
from tritstream_train.run.step import Gradients

SHAPE = {"hidden": 16, "intermediate": 16, "layers": 2, "vocab": 280, "sequence": 16, "batch": 4,
         "dtype": "float32", "warmup": 4, "log_every": 5, "save_every": 100, "rate": 0.02}


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["tree", "river", "stone", "cloud", "the", "a", "of", "runs", "falls"]
    rng = np.random.default_rng(1)
    path = tmp_path / "text.jsonl"
    lines = [" ".join(rng.choice(words, 400)) for _ in range(6)]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return str(path)


def test_a_run_learns_and_leaves_everything(tmp_path, text):
    config = TrainConfig(data=text, valid=text, steps=40, valid_every=20, **SHAPE)
    summary = train(config, tmp_path / "run")
    assert summary.steps == 40 and summary.tokens == 40 * 64
    records = Curve(tmp_path / "run" / "losses.csv").read()
    assert [record.step for record in records] == list(range(5, 45, 5))
    assert records[-1].loss < 0.75 * records[0].loss
    assert [record.step for record in records if record.valid] == [20, 40]
    assert records[-1].valid == summary.valid < 8
    assert (tmp_path / "run" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["steps"] == 40


def test_validations_need_no_line_of_the_curve(tmp_path, text):
    config = TrainConfig(data=text, valid=text, steps=20, valid_every=7, **SHAPE)
    train(config, tmp_path / "run")
    records = Curve(tmp_path / "run" / "losses.csv").read()
    assert [record.step for record in records if record.valid] == [7, 14, 20]
    assert {record.step for record in records} == {5, 7, 10, 14, 15, 20}


def test_rows_of_a_process_have_to_be_equal_parts(tmp_path, text):
    config = TrainConfig(data=text, steps=4, **SHAPE | {"batch": 12, "accumulate": 4})
    processes = Processes(0, 2, torch.device("cpu"))
    with pytest.raises(BadInput, match="6 windows of one process .* a multiple of 8"):
        Gradients(build(config, config.model), processes, config)


def test_a_checkpoint_without_a_first_token_has_that_of_its_tokenizer(tmp_path, text):
    first = train(TrainConfig(data=text, steps=5, **SHAPE), tmp_path / "first")
    path = tmp_path / "first" / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token_id": None}))
    second = train(TrainConfig(data=text, start=first.model, steps=5, **SHAPE), tmp_path / "second")
    assert json.loads((Path(second.model) / "config.json").read_text())["bos_token_id"] == 0


def test_a_run_goes_on_from_a_checkpoint_directory(tmp_path, text):
    first = train(TrainConfig(data=text, steps=20, **SHAPE), tmp_path / "first")
    config = TrainConfig(data=text, start=first.model, steps=1, **SHAPE | {
        "rate": 1e-9, "hidden": 8})
    second = train(config, tmp_path / "second")
    assert second.parameters == first.parameters
    before, after = load_pretrained(first.model), load_pretrained(second.model)
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], weight, rtol=1e-3, atol=1e-6)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, text):
    config = TrainConfig(data=text, steps=60, **SHAPE | {
        "rate": 1e38, "save_every": 1, "log_every": 1})
    with pytest.raises(BadInput, match=r"The loss is (nan|inf) at step .*rate below 1e\+38"):
        train(config, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        assert torch.load(path, weights_only=True)["step"] < 60
    assert not (tmp_path / "run" / "model").exists()


def test_without_a_gpu_cuda_is_refused(tmp_path, text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="finds no GPU"):
        train(TrainConfig(data=text, steps=1, device="cuda", **SHAPE), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_one_sentence(tmp_path, text, monkeypatch):
    class Properties:
        total_memory = 8 << 30

    def fail(*arguments):
        raise torch.OutOfMemoryError("out of memory")
    monkeypatch.setattr("tritstream_train.run.step.Gradients.__call__", fail)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    with pytest.raises(DeviceError, match=r"8\.0 GiB do not hold 4 windows .* --accumulate 2"):
        train(TrainConfig(data=text, steps=1, **SHAPE), tmp_path / "run")


@pytest.mark.parametrize(("change", "word"), [
    ({"hidden": 0}, "hidden"), ({"rate": 0}, "rate"), ({"rate": float("nan")}, "rate"),
    ({"steps": None}, "steps"), ({"steps": True}, "steps"), ({"accumulate": 3}, "3 equal parts"),
    ({"beta2": 1}, "from 0 to below 1"), ({"graph": True}, "CUDA graph"),
    ({"data": ["a"]}, "data must be the name of a file"), ({"valid": 3.5}, "valid must be"),
    ({"fused": "no"}, "fused must be true or false"), ({"device": "tpu"}, "cuda or cpu"),
    ({"freeze": 2}, "from 0 to 1, not 2"), ({"dropout": 1}, "dropout"),
    ({"dropout": -0.1}, "dropout"), ({"hours": 0}, "hours must be a number above 0"),
    ({"freeze": 0.5, "parallel": "fsdp"}, "parallel fsdp")])
def test_settings_are_checked(change, word):
    with pytest.raises(BadInput, match=word):
        TrainConfig(**{"data": "x", "steps": 1, "batch": 8} | change)


def test_settings_survive_json_and_unknown_ones_do_not():
    config = TrainConfig(data="x", steps=7, rate=0.5)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(BadInput, match="'colour'"):
        TrainConfig.from_json({"data": "x", "steps": 1, "colour": "red"})
    with pytest.raises(BadInput, match="give --steps N, or --preset"):
        TrainConfig.from_json({"data": "x"})


@pytest.mark.parametrize("name", presets())
def test_presets_are_settings(name):
    config = TrainConfig.from_json({"data": "x", "device": "cuda"} | preset(name))
    assert config.steps > 1000
    assert config.model.hidden == config.hidden
    with torch.device("meta"):
        size = sum(weight.numel() for weight in HGRNBit(config.model).parameters())
    assert name != "demo" or size <= 8_000_000


def test_rates_rise_then_fall():
    rates = [rate_factor(step, 100, 10) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 == max(rates)
    assert all(later < sooner for sooner, later in zip(rates[10:], rates[11:], strict=False))
    assert rates[55] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert rate_factor(200, 100, 10) == 0 and rate_factor(0, 1, 0) == 1


def test_every_parameter_is_updated_and_only_matrices_decay():
    config = TrainConfig(data="x", steps=1, vector_rate=0.5, **SHAPE)
    model = HGRNBit(config.model)
    optimizer = make_optimizer(model, config)
    vectors, matrices = optimizer.param_groups
    placed = [*vectors["params"], *matrices["params"]]
    assert sorted(map(id, placed)) == sorted(map(id, model.parameters()))
    assert {weight.ndim for weight in matrices["params"]} == {2}
    assert (vectors["weight_decay"], matrices["weight_decay"]) == (0, 0.01)
    set_rates(optimizer, 0.5, {"allowed": 0.1, "memory": 9.0})
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.01]
    assert [group.get("allowed") for group in optimizer.param_groups] == [None, 0.1]


def test_validation_follows_the_rule_of_eval(tmp_path, text):
    summary = train(TrainConfig(data=text, steps=10, **SHAPE), tmp_path / "run")
    documents = ["the river runs", "stone of a cloud " * 300, ""]
    checkpoint = Checkpoint.open(summary.model)
    tokenizer = Tokenizer.open(checkpoint.tokenizer_path, checkpoint.config)
    expected = evaluate(FloatModel(checkpoint), tokenizer, documents)
    validation = Validation(documents, tokenizer, 16)
    assert (validation.tokens, validation.bytes) == (expected.tokens, expected.bytes)
    model = load_pretrained(summary.model, dtype=torch.float32)
    got = validation.bits_per_byte(model, torch.device("cpu"))
    assert got == pytest.approx(expected.bits_per_byte, rel=1e-3)


RECORD = Record(step=5, tokens=320, loss=3.25, rate=0.01, gradient=1.5, seconds=2.0, speed=160.0,
                memory=1 << 20, valid=None)


def test_a_curve_is_cut_where_a_run_goes_on(tmp_path):
    curve = Curve(tmp_path / "losses.csv")
    records = [dataclasses.replace(RECORD, step=step, valid=2.5 if step == 3 else None)
               for step in range(1, 6)]
    for record in records:
        curve.add(record)
    assert curve.read() == records
    curve.cut(3)
    assert curve.read() == records[:3]
    with open(curve.path, newline="") as file:
        assert next(csv.reader(file))[0] == "step"
    draw(records, tmp_path / "losses.png", "a run")


def test_a_curve_that_is_none_is_one_sentence(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text("step,colour\n1,red\n")
    with pytest.raises(BadInput, match="is not the curve of a run"):
        Curve(path).read()
