"""AdamW for all parameters, and the cosine that its rates follow."""

import math

import torch
from torch import nn

from tritstream_train.config import TrainConfig
from tritstream_train.optim.freeze import FreezingAdamW

__all__ = ["make_optimizer", "rate_factor", "set_rates"]


def make_optimizer(model: nn.Module, config: TrainConfig) -> FreezingAdamW:
    """AdamW with betas as the paper has them (section 4).

    Only matrices other than embeddings decay, and only their weights freeze.
    """
    plain, decaying = [], []
    for name, parameter in model.named_parameters():
        vector = parameter.ndim < 2 or "embeddings" in name or name.endswith("lower_bounds")
        (plain if vector else decaying).append(parameter)
    optimizer = FreezingAdamW(
        [{"params": plain, "weight_decay": 0.0, "lr": config.vector_rate or config.rate},
         {"params": decaying, "weight_decay": config.weight_decay, "allowed": None, "memory": 1.0,
          "first": None}],
        lr=config.rate, betas=(config.beta1, config.beta2), fused=config.device == "cuda")
    for group in optimizer.param_groups:
        group["peak"] = group["lr"]
    return optimizer


def rate_factor(step: int, total: int, warmup: int) -> float:
    """Learning rate of a step, relative to the peak: it rises, then falls to 0 as a cosine.

    Parameters
    ----------
    step : int
        From 0.
    total : int
        Steps of the run; the rate is 0 after the last one.
    warmup : int
        Steps in which it rises.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return (1 + math.cos(math.pi * progress)) / 2


def set_rates(optimizer: torch.optim.Optimizer, factor: float, freezing: dict[str, float | None]):
    """Set every learning rate to its peak times a factor, and what is to freeze."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
        if "allowed" in group:
            group.update(freezing)
