"""What `tritstream train` does with its options."""

import os
from pathlib import Path

import torch

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig
from tritstream_train.config import TrainConfig, preset
from tritstream_train.run.directory import Run
from tritstream_train.run.loop import train
from tritstream_train.run.report import reporting

__all__ = ["config", "reporting", "speaks", "train"]


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
    if resume:
        settings = Run.open(directory).config.to_json()
        if name is not None or table:
            raise BadInput("A resumed run has its settings: leave --preset and --config out.")
    else:
        settings = {"device": "cuda" if torch.cuda.is_available() else "cpu"}
        settings |= preset(name) if name else {}
        settings |= _shape(table) if "model_type" in table else table
    # How long it takes is said in one of two ways; the later one holds.
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if one in given:
            settings.pop(other, None)
    settings |= given
    # A preset records a graph where that is possible.
    if "graph" not in given and (settings["device"] == "cpu" or "WORLD_SIZE" in os.environ
                                 or settings.get("fused") is False):
        settings["graph"] = False
    # Few CPUs compute bfloat16 at a speed worth having.
    if settings["device"] == "cpu":
        settings.setdefault("dtype", "float32")
    if "data" not in settings:
        raise BadInput("There is no text to learn from: give --data FILE.")
    return TrainConfig.from_json(settings)


def speaks() -> bool:
    """Whether this process is the one that writes results."""
    return os.environ.get("RANK", "0") == "0"


def _shape(table: dict) -> dict:
    model = ModelConfig.from_json(table)
    return {"hidden": model.hidden, "intermediate": model.intermediate, "layers": model.layers,
            "vocab": model.vocab}
