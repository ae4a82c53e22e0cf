"""The models that can be trained."""

import torch
from torch import nn

from tritstream.model.config import ModelConfig
from tritstream_train.config import TrainConfig
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.model.load import load_pretrained
from tritstream_train.transformer import Transformer

__all__ = ["build"]


def build(config: TrainConfig, shape: ModelConfig) -> nn.Module:
    """Make a model, its weights drawn from the run's seed, or those of `config.start`.

    Either is called with tokens [B, T] for logits, or with tokens and targets for their mean loss;
    one that is recurrent has `new_state(batch)` and takes `state`.

    Raises
    ------
    BadInput
        As `load_pretrained`.
    """
    options = {"dtype": getattr(torch, config.dtype), "dropout": config.dropout}
    torch.manual_seed(config.seed)
    if config.arch == "transformer":
        return Transformer(shape, **options)
    options["fused"] = config.fused and config.device == "cuda"
    if config.start is not None:
        return load_pretrained(config.start, **options)
    return HGRNBit(shape, **options)
