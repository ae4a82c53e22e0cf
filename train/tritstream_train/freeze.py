"""AdamW that freezes weights which keep changing their trit.

Gradients go straight through the quantiser, so a weight that would best be between two trits is
driven to the threshold from either side and changes its trit again and again, however small the
rate. That is noise in every step, and which trit is left at the end is chance. Freezing such
weights one after another, the most restless first, lets the others learn around them: iterative
weight freezing, M. Nagel et al., *Overcoming oscillations in quantization-aware training*, ICML
2022 (arXiv 2203.11086), here with a threshold that falls geometrically and for ternary weights.
"""

import math
from collections import defaultdict

import torch

from tritstream_train.bitlinear import FLOOR

__all__ = ["FreezingAdamW", "freezing"]

MEMORY = 1 / 200            # share of a run that the running means remember
SHORTEST = 50               # but at least so many steps
FIRST = 0.2                 # changes per step above which a weight freezes, at first
LAST = 0.5                  # at last: changes within the memory, so that the first one freezes
FALLING = 0.9               # share of the freezing steps in which that falls
KEEP = 0.05                 # of the scale: distance of a frozen weight from the threshold


def freezing(step: int, total: int | None, warmup: int, share: float) -> dict[str, float]:
    """How `FreezingAdamW` freezes in a step.

    Parameters
    ----------
    step : int
        From 0.
    total : int or None
        Steps of the run; None if not yet known, which the warm-up does not need.
    warmup : int
        Steps, the first ones, in which none freezes.
    share : float
        Of all steps, the last ones, in which weights freeze.

    Returns
    -------
    dict
        `threshold`, changes of its trit per step above which a weight freezes, infinite while none
        do; and `memory`, steps over which they are averaged.
    """
    memory = max(SHORTEST, MEMORY * (total or 0))
    if step < warmup or step < total * (1 - share):
        return {"threshold": math.inf, "memory": memory}
    progress = min(1.0, (step - total * (1 - share)) / (total * share * FALLING))
    return {"threshold": FIRST * (LAST / memory / FIRST) ** progress, "memory": memory}


class FreezingAdamW(torch.optim.AdamW):
    """AdamW; of groups with a finite `threshold`, weights that change their trit often freeze.

    A frozen weight goes on moving, but not to the threshold between its trit and the next. State of
    each weight, besides AdamW's: the running mean of its trit, and how often it changes per step,
    infinite if it is frozen.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; a `closure` is not called."""
        stacks = []
        for group in self.param_groups:
            if math.isfinite(group.get("threshold", math.inf)):
                shapes = defaultdict(list)
                for matrix in group["params"]:
                    shapes[matrix.shape].append(matrix)
                stacks += [(matrices, _trits(torch.stack(matrices))[0], group["threshold"],
                            1 / group["memory"]) for matrices in shapes.values()]
        super().step()
        for stack in stacks:
            self._freeze(*stack)

    def _freeze(self, matrices: list, before: torch.Tensor, threshold: float, share: float):
        """Freeze and hold weights of one shape, given the trits from before the step."""
        for matrix, trits in zip(matrices, before, strict=True):
            if "trit" not in self.state[matrix]:
                self.state[matrix] |= {"trit": trits.clone(), "changes": torch.zeros_like(matrix)}
        means = [self.state[matrix]["trit"] for matrix in matrices]
        counts = [self.state[matrix]["changes"] for matrix in matrices]
        weight, mean, changes = torch.stack(matrices), torch.stack(means), torch.stack(counts)

        trits, scale = _trits(weight)
        frozen = changes.isinf()
        kept = torch.where(frozen, before, trits)
        mean = torch.lerp(mean, kept, share)
        changes = (1 - share) * changes + share * (kept != before)
        late = changes > threshold                  # those that are frozen already, too
        kept = torch.where(late & ~frozen, mean.round(), kept)
        weight = torch.where(late, _held(weight, kept, scale), weight)

        torch._foreach_copy_(matrices, list(weight))
        torch._foreach_copy_(means, list(mean))
        torch._foreach_copy_(counts, list(changes.masked_fill_(late, math.inf)))


def _trits(weight):
    """Trits and scales of matrices [N, M, K]."""
    scale = weight.abs().mean((1, 2), keepdim=True).clamp(min=FLOOR)
    return (weight / scale).round().clamp(-1, 1), scale


def _held(weight, trits, scale):
    """Return weights where they have the given trits, clear of the threshold."""
    low, high = (0.5 - KEEP) * scale, (0.5 + KEEP) * scale
    return torch.where(trits == 0, weight.clamp(-low, low), (weight * trits).clamp(high) * trits)
