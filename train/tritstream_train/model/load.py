"""The model of a run: new, or of a published checkpoint whose weights become master weights."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from tritstream.model.checkpoint import Checkpoint, ternarise
from tritstream.model.config import ModelConfig
from tritstream_train.config import TrainConfig
from tritstream_train.data.tokens import digest_of
from tritstream_train.model.hgrn import HGRNBit

__all__ = ["build", "digest_of_weights", "load_pretrained"]


def build(config: TrainConfig, shape: ModelConfig) -> HGRNBit:
    """Make a model, its weights drawn from the run's seed, or those of `config.start`.

    Raises
    ------
    BadInput
        As `load_pretrained`.
    """
    torch.manual_seed(config.seed)
    options = {"dtype": getattr(torch, config.dtype), "dropout": config.dropout,
               "fused": config.fused and config.device == "cuda"}
    if config.start is not None:
        return load_pretrained(config.start, **options)
    return HGRNBit(shape, **options)


def load_pretrained(path: str | Path, **options) -> HGRNBit:
    """Open a checkpoint directory as a model.

    A matrix that is already ternary would lose part of its scale when it is quantised again, by
    the mean magnitude. It is divided by its share of non-zeros, which gives back its codes and its
    scale exactly.

    Parameters
    ----------
    path : Path
        A directory as `tritstream.model.checkpoint` describes it.
    options
        Of `HGRNBit`.

    Raises
    ------
    BadInput
        As `tritstream.model.checkpoint.Checkpoint.open`.
    """
    checkpoint = Checkpoint.open(path)
    model = HGRNBit(checkpoint.config, **options)
    tensors = {name: torch.from_numpy(_master(name, values))
               for name, values in checkpoint.tensors()}
    model.load_state_dict(tensors)
    return model


def digest_of_weights(path: str | Path) -> str:
    """SHA-256 of a checkpoint directory's shape and weights, in hexadecimal.

    Raises
    ------
    BadInput
        As `tritstream.model.checkpoint.Checkpoint.open`.
    """
    digests = map(digest_of, Checkpoint.open(path).files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _master(name: str, values: np.ndarray) -> np.ndarray:
    if not name.endswith("_proj.weight") and name != "lm_head.weight":
        return values
    codes, scale = ternarise(values)
    if np.array_equal(values, codes * np.float32(scale)) and codes.any():
        return values / np.float32(np.count_nonzero(codes) / codes.size)
    return values
