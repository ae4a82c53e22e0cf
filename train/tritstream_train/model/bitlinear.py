"""RMSNorm and BitLinear: int8 activations times ternary weights, trained (paper, section 3.2).

Master weights are float32. Both quantisers are straight-through: a gradient passes them as if they
were not there, so the weight's gradient is the one of the quantised input, and the input's gradient
the one of the ternary weight.
"""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["LINEAR_EPS", "BitLinear", "RMSNorm", "quantise", "ternarise"]

LINEAR_EPS = 1e-6           # of a BitLinear's own norm, whatever the config says of the others
FLOOR = 1e-5                # of the absolute maximum, and of a weight's scale


class RMSNorm(nn.Module):
    """Division by the root mean square of the last dimension, and a gain for each channel."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        """Return float32, whatever comes in."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class BitLinear(nn.Module):
    """Norm, int8 quantiser per token, ternary matrix `[rows, columns]`, dequantiser; no bias."""

    def __init__(self, columns: int, rows: int):
        super().__init__()
        self.norm = RMSNorm(columns, LINEAR_EPS)
        self.weight = nn.Parameter(torch.empty(rows, columns))

    def forward(self, x):
        """Compute the layer with plain tensor operations: [..., columns] to [..., rows]."""
        y = self.norm(x)
        y = y + (quantise(y.detach()) - y.detach())
        weight = self.weight
        weight = weight + (ternarise(weight.detach()) - weight.detach())
        return functional.linear(y, weight)


def quantise(y):
    """Round each token to 255 steps up to its largest magnitude, half away from zero."""
    scale = 127 / y.abs().amax(-1, keepdim=True).clamp(min=FLOOR)
    y = y * scale
    return torch.trunc(y + torch.copysign(torch.full_like(y, 0.5), y)).clamp(-128, 127) / scale


def ternarise(weight):
    """Round to -1, 0 and 1 times the mean magnitude of the whole matrix, half to even."""
    scale = weight.abs().mean().clamp(min=FLOOR)
    return (weight / scale).round().clamp(-1, 1) * scale
