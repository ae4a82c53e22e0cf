"""Speed and memory of a training step: `python train/benchmarks/step.py`.

A step is forward, backward and AdamW, bfloat16 on random tokens; the paths run one after the other
on the same machine: `graphed` is the fused one as a CUDA graph, `plain` the one without kernels of
our own, and `authors` the authors' published code, if that is installed. The models are of
published shapes and those of the presets. Beside each speed stands the share of the tensor cores'
bfloat16 peak that the products alone would use (six operations per weight and token).
"""

import argparse
import dataclasses
import gc
import json
import statistics
import sys
from pathlib import Path

import torch
import triton

from authors import AuthorsModel
from tritstream.errors import DeviceError, TritstreamError
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.dummy import PRESETS
from tritstream.support.files import write_whole
from tritstream_train.config import TrainConfig, preset, presets
from tritstream_train.kernels.graph import GraphedLoss
from tritstream_train.model.hgrn import HGRNBit

__all__ = ["PATHS", "PUBLISHED", "SHAPES", "Measurement", "TooSmall", "measure"]

PATHS = ("fused", "graphed", "plain", "authors")

PUBLISHED = {"370M": (PRESETS["370M"], 8, 2048), "1.3B": (PRESETS["1.3B"], 4, 2048)}
"""Models of published shapes, the sequences of a step and the tokens of each."""


def _preset(name: str) -> tuple[ModelConfig, int, int]:
    run = TrainConfig.from_json({"data": ""} | preset(name) | {"graph": False})
    return run.model, run.batch, run.sequence


SHAPES = PUBLISHED | {name: _preset(name) for name in presets() if name != "cpu"}
"""The same with those of the presets for a GPU."""

PEAK = 790e12               # operations per second, measured for large bfloat16 products on an H200
WARM_UP = 3


class TooSmall(DeviceError):
    """A step does not fit on the GPU."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One path of one model.

    Attributes
    ----------
    model, path : str
        Shape, and one of `PATHS`.
    batch, tokens : int
        Sequences in a step, and tokens in each.
    milliseconds : float
        Median of a step.
    speed : float
        Tokens per second.
    gigabytes : float
        Most that was allocated at any time, 10^9 bytes: parameters, optimizer, everything.
    reserved : float
        The same with what the allocator holds but does not use.
    share : float
        Of `PEAK`, that the products need at this speed.
    """

    model: str
    path: str
    batch: int
    tokens: int
    milliseconds: float
    speed: float
    gigabytes: float
    reserved: float
    share: float


def product_weights(config: ModelConfig) -> int:
    """Weights that every token is multiplied by, the head's included."""
    return sum(shape[0] * shape[1] for name, shape in tensor_shapes(config).items()
               if len(shape) == 2 and name.endswith(("_proj.weight", "lm_head.weight")))


def measure(name: str, config: ModelConfig, *, path: str, batch: int, tokens: int,
            steps: int) -> Measurement:
    """Train a fresh model for some steps and time them.

    Raises
    ------
    DeviceError
        There is no CUDA device.
    TooSmall
        The model does not fit on it.
    """
    if not torch.cuda.is_available():
        raise DeviceError("The training benchmark needs a CUDA device, but PyTorch finds none.")
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        times = _train(config, path, batch, tokens, steps)
    except torch.OutOfMemoryError as error:
        raise TooSmall(f"A step of {name} with {batch} sequences of {tokens} tokens does not fit "
                       f"on this device by the path {path}: use a smaller --batch, or leave that "
                       "path out.") from error
    milliseconds = statistics.median(times)
    speed = batch * tokens / milliseconds * 1e3
    return Measurement(
        name, path, batch, tokens, milliseconds, speed, torch.cuda.max_memory_allocated() / 1e9,
        torch.cuda.max_memory_reserved() / 1e9, 6 * product_weights(config) * speed / PEAK)


def _train(config, path, batch, tokens, steps) -> list[float]:
    """Milliseconds of every step after the warm-up."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = (AuthorsModel(config) if path == "authors"
                 else HGRNBit(config, fused=path != "plain"))
        text = torch.randint(config.vocab, (batch, tokens + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    graph = None
    marks = []
    for step in range(WARM_UP + steps + 1):
        if path == "graphed" and step == 1:     # with the optimizer's state there to be weighed
            graph = GraphedLoss(model, batch, tokens)
        marks.append(torch.cuda.Event(enable_timing=True))
        marks[-1].record()
        if graph is None:
            model.loss(text[:, :-1], text[:, 1:]).backward()
        else:
            graph(text[:, :-1], text[:, 1:])
        optimizer.step()
        if graph is None:
            optimizer.zero_grad()
        else:
            graph.zero_grad()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a, b in zip(marks[WARM_UP:], marks[WARM_UP + 1:], strict=False)]


def main(arguments: list[str] | None = None) -> int:
    """Print a table, and write the same numbers as JSON; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/benchmarks/step.py",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS[:-1]))
    parser.add_argument("--batch", type=int, help="sequences in a step")
    parser.add_argument("--tokens", type=int, help="tokens in a sequence")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(options) -> int:
    results, code = [], 0
    print(f"{'model':<9} {'path':<7} {'batch':>5} {'tokens':>6} {'ms':>8} {'tok/s':>9} {'GB':>6} "
          f"{'reserved':>8} {'of peak':>7}")
    for name in options.models:
        config, batch, tokens = SHAPES[name]
        for path in options.paths:
            try:
                result = measure(name, config, path=path, batch=options.batch or batch,
                                 tokens=options.tokens or tokens, steps=options.steps)
            except TooSmall as error:       # what fits is measured all the same
                print(f"error: {error}", file=sys.stderr)
                code = error.exit_code
                continue
            results.append(result)
            print(f"{result.model:<9} {result.path:<7} {result.batch:>5} {result.tokens:>6} "
                  f"{result.milliseconds:>8.2f} {result.speed:>9,.0f} {result.gigabytes:>6.2f} "
                  f"{result.reserved:>8.2f} {result.share:>7.1%}", flush=True)
            if options.output:
                _write(options.output, results)
    return code


def _write(path: Path, results: list[Measurement]):
    table = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
             "triton": triton.__version__,
             "results": [dataclasses.asdict(result) for result in results]}
    write_whole(path, (json.dumps(table, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
