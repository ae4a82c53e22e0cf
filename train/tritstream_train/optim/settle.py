"""Weights whose trits do not hang on a last bit, for what comes after training.

Training drives weights to the threshold between two trits and leaves them there: of a model of 8 M
parameters a sixth lay within 10^-4 of it. Which side each is on is learned, down to the last steps.
But another sum of the magnitudes, in another order or precision, moves the threshold past whole
groups of them: one unit in the last place of the scales changes bits per byte by several per cent.
So what is exported keeps the trits that training computed with, clear of the threshold.
"""

from collections.abc import Mapping

import torch

from tritstream_train.model.bitlinear import FLOOR, ternarise

__all__ = ["MARGIN", "settle", "settled"]

MARGIN = 1 / 64             # of the scale, left free on both sides of the threshold


def settle(weight: torch.Tensor, trits: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the given trits and the same mean magnitude.

    Magnitudes next to the threshold are moved away from it, and what larger ones have above it is
    stretched so that the mean stays.

    Parameters
    ----------
    weight : Tensor
        float32 [M, K].
    trits : Tensor
        -1, 0 or 1, [M, K], those of `weight` but for rounding.
    """
    magnitude = weight.double().abs()
    scale = magnitude.mean()
    if scale < FLOOR:
        return weight
    low, high = (0.5 - MARGIN) * scale, (0.5 + MARGIN) * scale
    zero = trits == 0
    magnitude = torch.where(zero, magnitude.clamp(max=low), magnitude.clamp(min=high))
    excess = (magnitude - high).masked_fill(zero, 0)
    factor = 1 + (scale * magnitude.numel() - magnitude.sum()) / excess.sum()
    return torch.copysign(magnitude + (factor - 1) * excess, weight).float()


def settled(weights: Mapping[str, torch.Tensor], device: torch.device, *, fused: bool
            ) -> dict[str, torch.Tensor]:
    """Return weights by name, the matrices settled.

    Parameters
    ----------
    weights : mapping of str to Tensor
        By published name.
    device : torch.device
        What training computed on.
    fused : bool
        Whether it did so with this package's kernels.
    """
    return {name: settle(weight, _trits(weight.to(device), fused).to(weight.device))
            if name.endswith("_proj.weight") or name == "lm_head.weight" else weight
            for name, weight in weights.items()}


def _trits(weight, fused):
    if not fused:
        return ternarise(weight).sign()
    from tritstream_train.kernels.ternary import magnitudes, ternary_codes
    return ternary_codes([weight], magnitudes([weight]))[0][0]
