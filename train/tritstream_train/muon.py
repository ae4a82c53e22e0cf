"""Muon (K. Jordan, 2024, kellerjordan.github.io/posts/muon) for many matrices of few shapes.

It computes what `torch.optim.Muon` does with `adjust_lr_fn="match_rms_adamw"`. That one takes a
matrix at a time, and small models then wait for the launches of its kernels; here all matrices of a
shape go through the iteration together.
"""

import math
from collections import defaultdict

import torch

__all__ = ["Muon"]

COEFFICIENTS = 3.4445, -4.7750, 2.0315      # of the quintic, as in the post
ITERATIONS = 5
FLOOR = 1e-7                                # of a norm that is divided by
ADAMW_RMS = 0.2                             # of AdamW's updates (arXiv 2502.16982, section 2.2)


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum, with weight decay apart from the gradient.

    Parameters
    ----------
    params : iterable of Parameter
        Matrices.
    lr : float
        Learning rate, of the size that suits AdamW.
    weight_decay : float
        Share of a weight that is lost per step and unit of rate.
    momentum : float
        Nesterov's.
    """

    def __init__(self, params, lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; a `closure` is not called."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for matrices in shapes.values():
                self._update(matrices, **{name: group[name]
                                          for name in ("lr", "weight_decay", "momentum")})

    def _update(self, matrices: list, lr: float, weight_decay: float, momentum: float):
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        gradients = [matrix.grad for matrix in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)
        directions = orthogonalised(torch.stack(ahead).bfloat16())
        scale = ADAMW_RMS * math.sqrt(max(matrices[0].shape))
        torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        torch._foreach_add_(matrices, list(directions.float().unbind()), alpha=-lr * scale)


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of matrices [N, R, C] to about 1, by Newton and Schulz."""
    first, second, third = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=FLOOR)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
        x = torch.baddbmm(x, polynomial, x, beta=first)
    return x.mT if tall else x
