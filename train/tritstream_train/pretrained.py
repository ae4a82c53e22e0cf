"""Published checkpoints as float32 master weights that can be trained on."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from tritstream.checkpoint import Checkpoint, ternarise
from tritstream.tensorfile import TensorFile
from tritstream_train.data import digest_of
from tritstream_train.model import HGRNBit

__all__ = ["digest_of_weights", "load_pretrained"]


def load_pretrained(path: str | Path, **options) -> HGRNBit:
    """Open a checkpoint directory as a model.

    A matrix that is already ternary would lose part of its scale when it is quantised again, by
    the mean magnitude. It is divided by its share of non-zeros, which gives back its codes and its
    scale exactly.

    Parameters
    ----------
    path : Path
        A directory as `tritstream.checkpoint` describes it.
    options
        Of `HGRNBit`.

    Raises
    ------
    BadInput
        As `tritstream.checkpoint.Checkpoint.open`.
    """
    path = Path(path)
    model = HGRNBit(Checkpoint.open(path).config, **options)
    files = [TensorFile(path / name) for name in _shards(path)]
    tensors = {name: torch.from_numpy(_master(name, file.read(name)))
               for file in files for name in file.entries}
    if _read(path / "config.json").get("tie_word_embeddings") is True:
        tensors["lm_head.weight"] = tensors["model.embeddings.weight"]
    if not model.config.use_lower_bound:
        tensors.pop("model.lower_bounds", None)
    model.load_state_dict(tensors)
    return model


def digest_of_weights(path: str | Path) -> str:
    """SHA-256 of a checkpoint directory's shape and weights, in hexadecimal.

    Raises
    ------
    BadInput
        As `tritstream.checkpoint.Checkpoint.open`.
    """
    path = Path(path)
    Checkpoint.open(path)
    digests = [digest_of(path / name) for name in ("config.json", *_shards(path))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _shards(path: Path) -> list[str]:
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return ["model.safetensors"]
    return sorted(set(_read(index)["weight_map"].values()))


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _master(name: str, values: np.ndarray) -> np.ndarray:
    if not name.endswith("_proj.weight") and name != "lm_head.weight":
        return values
    codes, scale = ternarise(values)
    if np.array_equal(values, codes * np.float32(scale)) and codes.any():
        return values / np.float32(np.count_nonzero(codes) / codes.size)
    return values
