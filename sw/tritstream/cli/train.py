"""`tritstream train`: quantisation-aware training, by the extra `tritstream[train]`."""

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from tritstream.cli.console import output, print_json, quantity
from tritstream.cli.options import Json
from tritstream.errors import BadInput, MissingTool

__all__ = ["train"]


def train(
    directory: Annotated[Path, typer.Option(
        "-o", "--output", metavar="DIR", help="Where the run goes; it must not hold another.")],
    data: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Text to learn from: JSON lines with a text each, or plain text; "
        "either may be .xz.")] = None,
    valid: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Text held back, for bits per byte.")] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on from the last checkpoint in DIR; its settings hold.")] = False,
    preset: Annotated[str | None, typer.Option(
        metavar="NAME", help="Settings to start from: tiny, demo, story-30m.")] = None,
    settings: Annotated[Path | None, typer.Option(
        "--config", metavar="FILE", help="The same from a JSON file.")] = None,
    start: Annotated[Path | None, typer.Option(
        "-m", "--model", metavar="CHECKPOINT", help="Checkpoint directory to go on from.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(
        metavar="FILE", help="A tokenizer.json; without it one is learned.")] = None,
    arch: Annotated[str | None, typer.Option(help="hgrn_bit, or transformer to compare.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Width.")] = None,
    intermediate: Annotated[int | None, typer.Option(help="Width of the channel mixer.")] = None,
    layers: Annotated[int | None, typer.Option(help="Blocks.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Tokens.")] = None,
    sequence: Annotated[int | None, typer.Option(help="Tokens of a window.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows of a step.")] = None,
    span: Annotated[int | None, typer.Option(
        help="Consecutive windows that the state is carried through.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Instead: how long to train.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw, or muon for the matrices.")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    vector_rate: Annotated[float | None, typer.Option(
        help="The same for gains, bounds and embeddings.")] = None,
    matrix_rate: Annotated[float | None, typer.Option(help="Peak learning rate of muon.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps in which the rate rises.")] = None,
    schedule: Annotated[str | None, typer.Option(help="linear, cosine or wsd.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of matrices.")] = None,
    dropout: Annotated[float | None, typer.Option(
        help="Share of what a layer adds that is left out, for texts read many times.")] = None,
    freeze: Annotated[float | None, typer.Option(
        help="Share of the steps, the last ones, in which restless trits freeze.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    seed: Annotated[int | None, typer.Option("-s", "--seed", help="Of everything random.")] = None,
    dtype: Annotated[str | None, typer.Option(help="bfloat16 or float32.")] = None,
    # Typer 0.27 takes a metavar that is the name in capitals for the name.
    device: Annotated[str | None, typer.Option(
        "--device", metavar="DEVICE", help="cuda or cpu; default: cuda if there is a GPU.")] = None,
    accumulate: Annotated[int | None, typer.Option(
        help="Parts that a step is computed in, to save memory.")] = None,
    parallel: Annotated[str | None, typer.Option(
        help="ddp or fsdp, under torchrun.")] = None,
    fused: Annotated[bool | None, typer.Option(
        "--fused/--plain", help="This package's kernels, or plain tensor operations.")] = None,
    graph: Annotated[bool | None, typer.Option(
        "--graph/--no-graph", help="Record a step as a CUDA graph.")] = None,
    log_every: Annotated[int | None, typer.Option(help="Steps between lines.")] = None,
    valid_every: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    keep: Annotated[int | None, typer.Option(help="Checkpoints to keep.")] = None,
    json: Json = False,
):
    """Train a model of one's own, and export it for `pack`."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in
             locals().items() if value is not None}
    for name in ("directory", "resume", "preset", "settings", "json"):
        given.pop(name, None)
    package = _package()
    config = package.config(directory, resume, preset, _table(settings), given)
    if not package.speaks():
        package.train(config, directory, resume=resume)
        return
    with package.reporting(json) as report:
        summary = package.train(config, directory, resume=resume, report=report)
    if json:
        print_json(dataclasses.asdict(summary))
        return
    valid_text = "" if summary.valid is None else f", {summary.valid:.4f} bits per byte"
    output().print(
        f"{quantity(summary.parameters)} parameters, {summary.steps} steps, "
        f"{quantity(summary.tokens)} tokens in {summary.seconds:.0f} s "
        f"({quantity(summary.speed, 'tok/s')}, {quantity(summary.memory, 'B')}): loss "
        f"{summary.loss:.4f}{valid_text}")
    if summary.model:
        output().print(f"tritstream pack {summary.model} makes an image of it")


def _package():
    """Import the trainer, which a host with a board does not need."""
    try:
        from tritstream_train import command
    except ImportError as error:
        raise MissingTool(f"Training needs {error.name or 'PyTorch'}, which is not installed: "
                          "pip install 'tritstream[train]'.") from error
    return command


def _table(path: Path | None) -> dict:
    if path is None:
        return {}
    try:
        table = json_module.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}.") from error
    if not isinstance(table, dict):
        raise BadInput(f"{path} must hold a JSON object with settings.")
    return table
