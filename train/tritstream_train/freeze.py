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

__all__ = ["FreezingAdamW", "freeze_threshold"]

MEMORY = 0.98               # of the running means of trits and of their changes, per step
FIRST, LAST = 0.2, 0.01    # changes per step above which a weight freezes: at first, and at last
FALLING = 0.9               # share of the freezing steps in which that falls
KEEP = 0.05                 # of the scale: distance of a frozen weight from the threshold


def freeze_threshold(step: int, total: int | None, share: float) -> float:
    """Changes of its trit per step above which a weight freezes; infinite before the last `share`.

    Parameters
    ----------
    step : int
        From 0.
    total : int or None
        Steps of the run; None if not yet known.
    share : float
        Of all steps, the last ones.
    """
    if total is None or step < total * (1 - share):
        return math.inf
    progress = (step - total * (1 - share)) / (total * share * FALLING)
    return FIRST * (LAST / FIRST) ** min(1.0, progress)


class FreezingAdamW(torch.optim.AdamW):
    """AdamW; of groups with a finite `threshold`, weights that change their trits freeze.

    A frozen weight goes on moving, but not past the threshold between its trit and the next. State
    of each weight, besides AdamW's: the running mean of its trit, and how often it changes per
    step, infinite if it is frozen.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; a `closure` is not called."""
        shapes = defaultdict(list)
        for group in self.param_groups:
            if math.isfinite(group.get("threshold", math.inf)):
                for matrix in group["params"]:
                    shapes[matrix.shape, group["threshold"]].append(matrix)
        before = {key: _trits(torch.stack(matrices))[0] for key, matrices in shapes.items()}
        super().step()
        for key, matrices in shapes.items():
            self._freeze(matrices, before[key], key[1])

    def _freeze(self, matrices: list, before: torch.Tensor, threshold: float):
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
        mean = torch.lerp(kept, mean, MEMORY)
        changes = MEMORY * changes + (1 - MEMORY) * (kept != before)
        late = changes > threshold                  # the frozen ones too
        kept = torch.where(late & ~frozen, mean.round(), kept)
        weight = torch.where(kept != trits, _inside(weight, kept, scale), weight)

        torch._foreach_copy_(matrices, list(weight))
        torch._foreach_copy_(means, list(mean))
        torch._foreach_copy_(counts, list(changes.masked_fill_(late, math.inf)))


def _trits(weight):
    """Trits and scales of matrices [N, M, K]."""
    scale = weight.abs().mean((1, 2), keepdim=True).clamp(min=FLOOR)
    return (weight / scale).round().clamp(-1, 1), scale


def _inside(weight, trits, scale):
    """Return weights moved to where they have the given trits."""
    magnitude = torch.where(trits == 0, 0.5 - KEEP, 0.5 + KEEP) * scale
    return torch.where(trits == 0, torch.copysign(magnitude, weight), magnitude * trits)
