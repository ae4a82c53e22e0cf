"""The training benchmarks, as far as they go without a GPU."""

import json

import pytest
import torch
from torch.nn import functional

import engine as engine_benchmark
import kernels as kernel_benchmark
import step as benchmark
from authors import AuthorsModel
from library import Library
from rows import engine_rows, lanes_rows, library_rows, parallel_rows, step_rows
from tritstream.errors import MissingTool
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS

LITTLE = ModelConfig(hidden=32, intermediate=64, layers=1, vocab=50)


@pytest.mark.parametrize("module, what", [
    (benchmark, "The training benchmark needs a CUDA device"),
    (kernel_benchmark, "The kernels are timed on a CUDA GPU"),
    (engine_benchmark, "The engine is timed on a CUDA GPU")])
def test_without_a_gpu_one_sentence(monkeypatch, capsys, module, what):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.main([]) == 4
    assert capsys.readouterr().err.splitlines() == [f"error: {what}, but PyTorch finds none."]


@pytest.mark.parametrize("model, millions", [("370M", 341.0), ("1.3B", 1298.7)])
def test_every_token_meets_every_ternary_weight(model, millions):
    assert benchmark.product_weights(PRESETS[model]) / 1e6 == pytest.approx(millions, abs=0.1)


def test_code_of_others_that_is_not_installed_is_one_sentence(monkeypatch):
    for name in ("mmfreelm", "mmfreelm.models", "fla"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingTool, match="matmulfreellm on PYTHONPATH"):
        AuthorsModel(LITTLE)
    with pytest.raises(MissingTool, match="pip install fla-core"):
        Library()


def measured(path, speed):
    return benchmark.Measurement("370M", path, 8, 2048, 1.0, speed, 1.0, 1.0, 0.1)


def test_what_does_not_fit_is_said_and_the_rest_is_written(monkeypatch, tmp_path, capsys):
    def measure(name, config, *, path, **sizes):
        if path == "plain":
            raise benchmark.TooSmall("A step does not fit.")
        return measured(path, 1e5)
    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    file = tmp_path / "steps.json"
    assert benchmark.main(["--models", "370M", "--paths", "plain", "fused", "-o", str(file)]) == 4
    assert capsys.readouterr().err == "error: A step does not fit.\n"
    assert [row["code"] for row in step_rows(json.loads(file.read_text()))] == [
        "this package, fused"]


@pytest.mark.parametrize("options, message", [
    (["--models", "370M", "70M"], "--models: invalid choice: '70M'"),
    (["--conversations", "1", "x"], "--conversations: 'x' is not a number of at least 1"),
    (["--conversations", "0"], "--conversations: '0' is not a number of at least 1")])
def test_what_the_engine_cannot_be_timed_with(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        engine_benchmark.main(options)
    assert message in capsys.readouterr().err


def test_times_of_the_engine_are_written_whole(monkeypatch, tmp_path, capsys):
    asked = []

    def measure(name, image, conversations):
        asked.append((name, conversations))
        return [engine_benchmark.Measurement(name, "generate", count, 1.0, 1.0, 1, 1.0, 1.0)
                for count in conversations]
    monkeypatch.setattr(engine_benchmark, "PRESETS", {"little": LITTLE})
    monkeypatch.setattr(engine_benchmark, "measure", measure)
    for name in ("bandwidth", "products"):
        monkeypatch.setattr(engine_benchmark, name, lambda: 1e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    file = tmp_path / "engine.json"
    for output, code in ((file, 0), (tmp_path, 2)):
        assert engine_benchmark.main(["--models", "little", "--conversations", "1", "16", "-o",
                                      str(output)]) == code
    assert f"error: {tmp_path} cannot be written: " in capsys.readouterr().err
    assert asked == [("little", [1, 16])] * 2
    found = json.loads(file.read_text())
    assert [row["test"] for row in engine_rows(found)] == ["generate"]
    assert [(row["conversations"], row["times one"]) for row in lanes_rows(found)] == [
        (1, "1.00"), (16, "1.00")]
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


class Plain:
    """Stands for the library's kernels: the same in plain tensor operations."""

    version = "0"

    @staticmethod
    def _recurrence(x, g):
        states = [x[:, 0]]
        for t in range(1, x.shape[1]):
            states.append(g[:, t].exp() * states[-1] + x[:, t])
        return torch.stack(states, 1), None

    def __init__(self):
        self.recurrences = {"chunk_hgrn": self._recurrence}

    def norm_quantise(self, x, delta, gain, eps):
        total = x + delta
        inverse = total.square().mean(-1).add(eps).rsqrt()
        return total * inverse[:, None] * gain, inverse, total

    def norm_backward(self, dy, total, gain, inverse, residual):
        return dy * gain

    def gate(self, g, h, gain, eps):
        return functional.rms_norm(g.float(), g.shape[-1:], gain, eps).to(h.dtype) \
            * functional.silu(h)

    def swiglu(self, a, b):
        return functional.silu(a) * b

    def loss(self, x, targets, weight):
        return functional.cross_entropy((x @ weight.T).float(), targets)


def test_every_kernel_runs_and_has_its_row(monkeypatch):
    ran = []

    def microseconds(run):
        run()
        ran.append(run)
        return 2.0 + len(ran)
    monkeypatch.setattr(kernel_benchmark, "microseconds", microseconds)
    library = Plain()
    timings = [*kernel_benchmark.recurrences(library, 2, 8, 32),
               *kernel_benchmark.products(3, 8, 32, 32), *kernel_benchmark.products(1, 24, 32, 64),
               *kernel_benchmark.elements(library, 8, LITTLE),
               *kernel_benchmark.head(library, 8, LITTLE)]
    assert len(ran) == len(timings)
    rows = {row["kernel"]: row for row in library_rows({"timings": list(map(vars, timings))})}
    assert len(rows) == 9
    one = rows["add, norm, quantise: one projection"]
    assert one["fla-core, us"] == one["this package, us"] + 1
    # x and delta come in; total, what is kept, codes and their steps go out.
    moved = {timing.kernel: timing.moved for timing in timings if timing.moved}
    assert moved["add, norm, quantise: one projection"] == 8 * (32 * (4 + 2 + 4 + 2 + 1) + 4)


def test_runs_on_two_gpus_stand_beside_one():
    lines = [{"step": str(step), "loss": "5.5", "speed": str(speed), "memory": "2000000000"}
             for step, speed in ((10, 1), (20, 900), (30, 1100))]
    twice = [line | {"speed": str(1.8 * float(line["speed"]))} for line in lines]
    one, two = parallel_rows({"ddp": twice, "one": lines})
    assert one["of as many times one"] == "100.0%" and two["of as many times one"] == "90.0%"
    assert two["k tokens per second"] == "1.8" and two["loss at step 30"] == "5.500000"
