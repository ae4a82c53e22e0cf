"""`tritstream train`: quantisation-aware training, by the extra `tritstream[train]`.

Its options are the settings of `TrainConfig`; they are read, and help is shown, without PyTorch.
"""

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tritstream.cli.console import output, print_json, quantity
from tritstream.cli.options import Json
from tritstream.errors import BadInput, MissingTool
from tritstream.model.config import ModelConfig
from tritstream.support.inputs import read_json
from tritstream_train.config import TrainConfig, preset, presets, settings

__all__ = ["config", "train"]

MOST_BYTES = 1 << 20        # of a file of settings


def train(
    output_directory: Annotated[Path, typer.Option(
        "-o", "--output", metavar="DIR", help="Where the run goes; it must not hold another.")],
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on from the last checkpoint in DIR; its settings hold.")] = False,
    preset: Annotated[str | None, typer.Option(
        "--preset", metavar="NAME",
        help=f"Settings to start from: {', '.join(presets())}.")] = None,
    settings: Annotated[Path | None, typer.Option(
        "--config", metavar="FILE", help="The same from a JSON file.")] = None,
    json: Json = False,
    **given: Any,
):
    """Train a model of one's own, and export it for `pack`."""
    run_train, reporting = _trainer()
    given = {name: value for name, value in given.items() if value is not None}
    run = config(output_directory, resume, preset, _table(settings), given)
    if os.environ.get("RANK", "0") != "0":      # another process writes the results
        run_train(run, output_directory, resume=resume)
        return
    with reporting(json) as report:
        summary = run_train(run, output_directory, resume=resume, report=report)
    if json:
        print_json(dataclasses.asdict(summary))
        return
    valid = "" if summary.valid is None else f", {summary.valid:.4f} bits per byte"
    output().print(
        f"{quantity(summary.parameters)} parameters, {summary.steps} steps, "
        f"{quantity(summary.tokens)} tokens in {summary.seconds:.0f} s "
        f"({quantity(summary.speed, 'tok/s')}, {quantity(summary.memory, 'B')}): loss "
        f"{summary.loss:.4f}{valid}")
    output().print(f"tritstream pack {summary.model} makes an image of it")


def _with_settings(verb):
    """Give a verb one option for every setting, in the place of its `given`.

    An option that is not given is None, for a preset may have it; its default is in its help.
    """
    options = [parameter for parameter in inspect.signature(verb).parameters.values()
               if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for name, kind, setting in settings():
        shown = setting.shown or defaults[name]
        default = "" if shown in (None, dataclasses.MISSING) else f" [{shown}]"
        option = typer.Option(
            *(setting.flags or (f"--{name.replace('_', '-')}",)), help=setting.help + default,
            metavar=_metavar(kind, setting.choices))
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                         annotation=Annotated[kind | None, option]))
    options.sort(key=lambda parameter: parameter.kind)
    verb.__signature__ = inspect.Signature(options)
    verb.__annotations__ = {option.name: option.annotation for option in options}
    return verb


def _metavar(kind: type, choices: tuple[str, ...]) -> str | None:
    if kind is bool:
        return None
    return "|".join(choices) or {str: "FILE", int: "N", float: "X"}[kind]


train = _with_settings(train)


def config(directory: Path, resume: bool, name: str | None, table: dict, given: dict
           ) -> TrainConfig:
    """Settings of a run.

    Parameters
    ----------
    directory : Path
        Of the run.
    resume : bool
        Start from the settings that it has.
    name : str or None
        Otherwise, of a preset to start from.
    table : dict
        Settings of a file, which go before the preset's: those of a run, or a `config.json`.
    given : dict
        Settings of the command line, which go before all others.

    Raises
    ------
    BadInput
        Settings are missing, unknown or out of range.
    """
    import torch

    from tritstream_train.run.directory import Run
    if resume:
        found = Run.open(directory).config.to_json()
        if name is not None or table:
            raise BadInput("A resumed run has its settings: leave --preset and --config out.")
    else:
        found = {"device": "cuda" if torch.cuda.is_available() else "cpu"}
        found |= preset(name) if name else {}
        found |= _shape(table) if "model_type" in table else table
    found |= given
    # A preset records a graph where that is possible.
    if "graph" not in given and (found["device"] == "cpu" or "WORLD_SIZE" in os.environ
                                 or found.get("fused") is False):
        found["graph"] = False
    # Few CPUs compute bfloat16 at a speed worth having.
    if found["device"] == "cpu":
        found.setdefault("dtype", "float32")
    return TrainConfig.from_json(found)


def _trainer():
    """Import what trains, which needs more than a host with a board does."""
    try:
        from tritstream_train.run.loop import train
        from tritstream_train.run.report import reporting
    except ImportError as error:
        raise MissingTool(f"Training needs {error.name or 'PyTorch'}, which is not installed: "
                          "pip install 'tritstream[train]'.") from error
    return train, reporting


def _shape(table: dict) -> dict:
    model = ModelConfig.from_json(table)
    return {"hidden": model.hidden, "intermediate": model.intermediate, "layers": model.layers,
            "vocab": model.vocab}


def _table(path: Path | None) -> dict:
    if path is None:
        return {}
    try:
        return read_json(path, most=MOST_BYTES)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
