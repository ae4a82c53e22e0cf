"""A trained model in the published layout, which `tritstream pack` takes.

Weights are exported as float32, in which the scale of a matrix is what training saw.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from tritstream.checkpoint import ModelConfig, tensor_shapes
from tritstream.errors import BadInput
from tritstream.tensorfile import write_tensors

__all__ = ["export", "made_aside"]


def export(weights: Mapping[str, torch.Tensor], config: ModelConfig, tokenizer: bytes,
           directory: str | Path):
    """Write `config.json`, `model.safetensors` (master weights) and `tokenizer.json`.

    The directory is made aside and then renamed; one of an earlier export is replaced.

    Parameters
    ----------
    weights : mapping of str to Tensor
        By published name.
    config : ModelConfig
        Shape.
    tokenizer : bytes
        Contents of `tokenizer.json`.
    directory : Path
        Where to.

    Raises
    ------
    BadInput
        A weight is not finite, or the directory cannot be written.
    """
    directory = Path(directory)
    shapes = tensor_shapes(config)
    for name in shapes:
        if not bool(weights[name].isfinite().all()):
            raise BadInput(f"Tensor {name} has numbers that are not finite: nothing was exported; "
                           "take an earlier checkpoint.")
    with made_aside(directory) as aside:
        table = config.to_json() | {"torch_dtype": "float32"}
        (aside / "config.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        (aside / "tokenizer.json").write_bytes(tokenizer)
        write_tensors(aside / "model.safetensors", "F32", shapes,
                      (weights[name].float().cpu().numpy() for name in shapes))


@contextlib.contextmanager
def made_aside(directory: Path):
    """Give a new directory that takes the place of `directory` when all is in it.

    Raises
    ------
    BadInput
        It cannot be written; what was there before is there still.
    """
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        _swap(aside, directory)
    except OSError as error:
        raise BadInput(f"{directory} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(aside: Path, directory: Path):
    """Put a directory in the place of another, which is gone only when the new one is there."""
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(directory, old)
    os.replace(aside, directory)
    shutil.rmtree(old, ignore_errors=True)
