"""A trained model in the published layout, which `tritstream pack` takes.

Weights are exported as float32, in which the scale of a matrix is what training saw.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.tensors import write_tensors

__all__ = ["export", "made_aside"]


def export(weights: Mapping[str, torch.Tensor], config: ModelConfig, tokenizer: bytes,
           directory: str | Path):
    """Write `config.json`, `model.safetensors` (master weights) and the tokenizer's two files.

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
    with made_aside(directory) as aside, _writing(directory):
        table = config.to_json() | {"torch_dtype": "float32"}
        (aside / "config.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        (aside / "tokenizer.json").write_bytes(tokenizer)
        marks = {"tokenizer_class": "PreTrainedTokenizerFast",
                 "add_bos_token": config.bos is not None}
        (aside / "tokenizer_config.json").write_text(json.dumps(marks, indent=1) + "\n")
        write_tensors(aside / "model.safetensors", "F32", shapes,
                      (weights[name].float().cpu().numpy() for name in shapes))


@contextlib.contextmanager
def made_aside(directory: Path) -> Iterator[Path]:
    """Give a new directory that takes the place of `directory` when all is in it, and flushed.

    Raises
    ------
    BadInput
        It cannot be made or renamed; what was there before is there still.
    """
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        with _writing(directory):
            aside.mkdir(parents=True)
        yield aside
        with _writing(directory):
            _flush(aside)
            _swap(aside, directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Tell errors of writing a directory as one sentence."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{directory} cannot be written: {error.strerror or error}.") from error


def _flush(directory: Path):
    """Have the files of a directory, and their names, on the disk."""
    for path in (*directory.iterdir(), directory):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _swap(aside: Path, directory: Path):
    """Put a directory in the place of another, which is gone only when the new one is there."""
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(directory, old)
    os.replace(aside, directory)
    shutil.rmtree(old, ignore_errors=True)
