"""Which optimiser updates which parameter."""

import torch
from torch import nn

from tritstream_train.config import TrainConfig
from tritstream_train.muon import Muon
from tritstream_train.optim.freeze import FreezingAdamW

__all__ = ["make_optimizers", "set_rates"]


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Optimisers of all parameters.

    AdamW (betas as the paper, section 4) updates everything, or, where `config.optimizer` is
    `muon`, everything but the matrices of the blocks. Only matrices other than embeddings decay,
    and only their weights freeze.
    """
    plain, decaying, orthogonal = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "embeddings" in name or name.endswith("lower_bounds"):
            plain.append(parameter)
        elif config.optimizer == "muon" and ".layers." in name:
            orthogonal.append(parameter)
        else:
            decaying.append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0, "lr": config.vector_rate or config.rate},
              {"params": decaying, "weight_decay": config.weight_decay, "allowed": None,
               "memory": 1.0, "first": None}]
    adamw = FreezingAdamW(groups, lr=config.rate, betas=(config.beta1, config.beta2),
                          fused=config.device == "cuda")
    optimizers = [adamw]
    if orthogonal:
        optimizers.append(Muon(orthogonal, lr=config.matrix_rate,
                               weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], factor: float,
              freezing: dict[str, float | None]):
    """Set every learning rate to its peak times a factor, and what is to freeze."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
            if "allowed" in group:
                group.update(freezing)
