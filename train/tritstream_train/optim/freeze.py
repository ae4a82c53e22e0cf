"""AdamW that freezes weights which keep changing their trit.

Gradients go straight through the quantiser, so a weight that would best be between two trits is
driven to the threshold from either side and changes its trit again and again, however small the
rate. That is noise in every step, and which trit is left at the end is chance. Freezing such
weights one after another, the most restless first, lets the others learn around them: iterative
weight freezing, M. Nagel et al., *Overcoming oscillations in quantization-aware training*, ICML
2022 (arXiv 2203.11086), here for ternary weights, and with a threshold that follows from how many
changes a step may still have: linearly fewer, down to none. One that falls by itself passes the
rates of the restless weights, which differ from model to model, too soon.
"""

import math
from collections import defaultdict

import torch

from tritstream_train.model.bitlinear import FLOOR

__all__ = ["FreezingAdamW", "freezing"]

MEMORY = 1 / 200            # share of a run that the running means remember
SHORTEST = 50               # but at least so many steps
COUNTING = 2                # memories in which changes are counted before the first weight freezes
FREEZINGS = 20              # in each memory
FALLING = 0.95              # share of the freezing steps after which none may change
KEEP = 0.05                 # of the scale: distance of a frozen weight from the threshold
OCTAVES, PARTS = 24, 32     # by which rates of change are told apart: 1 down to 2^-24, 2 % each


def freezing(step: int, total: int, warmup: int, share: float) -> dict[str, float | None]:
    """How `FreezingAdamW` freezes in a step.

    Parameters
    ----------
    step : int
        From 0.
    total : int
        Steps of the run.
    warmup : int
        Steps, the first ones, in which none freezes.
    share : float
        Of all steps, the last ones, in which weights freeze.

    Returns
    -------
    dict
        `memory`, steps over which changes are averaged, which are all at first; and `allowed`, the
        share of the changes at first that a step may still have: None before they are counted,
        infinite while they only are, and between two steps in which weights freeze.
    """
    if step < warmup or step < total * (1 - share):
        return {"allowed": None, "memory": 1}
    begin = max(warmup, math.ceil(total * (1 - share)))
    memory = max(SHORTEST, MEMORY * total)
    counting = min(COUNTING * memory, (total - begin) / 4)
    progress = (step - begin - counting) / (FALLING * (total - begin) - counting)
    freezes = progress >= 0 and (total - 1 - step) % max(1, int(memory / FREEZINGS)) == 0
    return {"allowed": max(0.0, 1 - progress) if freezes else math.inf,
            "memory": min(memory, step - begin + 1)}


class FreezingAdamW(torch.optim.AdamW):
    """AdamW; of groups with `allowed`, weights that change their trit often freeze.

    A frozen weight goes on moving, but not to the threshold between its trit and the next. State of
    each weight, besides AdamW's: the running mean of its trit, and how often it changes per step,
    infinite if it is frozen; and of each group its changes per step before the first weight froze.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; a `closure` is not called."""
        counting = [group for group in self.param_groups if group.get("allowed") is not None]
        stacks = [(matrices, _trits(torch.stack(matrices))[0], 1 / group["memory"])
                  for group in counting for matrices in _by_shape(group["params"])]
        super().step()
        for stack in stacks:
            self._count(*stack)
        for group in counting:
            if math.isfinite(group["allowed"]):
                self._freeze(group)

    def _count(self, matrices: list, before: torch.Tensor, share: float):
        """Count changes, and hold what is frozen, given the trits of before the step."""
        for matrix, trits in zip(matrices, before, strict=True):
            if "trit" not in self.state[matrix]:
                self.state[matrix] |= {"trit": trits.clone(), "changes": torch.zeros_like(matrix)}
        weight, mean, changes = self._stacked(matrices)

        trits, scale = _trits(weight)
        frozen = changes.isinf()
        kept = torch.where(frozen, before, trits)
        changes = (1 - share) * changes + share * (kept != before)
        weight = torch.where(frozen, _held(weight, kept, scale), weight)
        self._replace(matrices, weight, torch.lerp(mean, kept, share), changes)

    def _freeze(self, group: dict):
        """Freeze the most restless weights, so many that the others' changes are allowed."""
        rates, flow = _flow([self.state[matrix]["changes"] for matrix in group["params"]])
        if group.get("first") is None:
            group["first"] = flow[-1].item()
        beyond = flow > group["allowed"] * group["first"]
        threshold = torch.where(beyond, rates, math.inf).min()
        for matrices in _by_shape(group["params"]):
            weight, mean, changes = self._stacked(matrices)
            late = (changes >= threshold) & changes.isfinite()
            _, scale = _trits(weight)
            weight = torch.where(late, _held(weight, mean.round(), scale), weight)
            self._replace(matrices, weight, mean, changes.masked_fill(late, math.inf))

    def _stacked(self, matrices: list) -> list[torch.Tensor]:
        """Weights of one shape, their mean trits and their changes per step, [N, M, K] each."""
        states = [self.state[matrix] for matrix in matrices]
        return [torch.stack(matrices), *(torch.stack([state[name] for state in states])
                                         for name in ("trit", "changes"))]

    def _replace(self, matrices: list, weight, mean, changes):
        states = [self.state[matrix] for matrix in matrices]
        torch._foreach_copy_(matrices, list(weight))
        torch._foreach_copy_([state["trit"] for state in states], list(mean))
        torch._foreach_copy_([state["changes"] for state in states], list(changes))


def _by_shape(matrices: list) -> list[list]:
    """Matrices in lists of one shape each, which spares a GPU many small kernels."""
    shapes = defaultdict(list)
    for matrix in matrices:
        shapes[matrix.shape].append(matrix)
    return list(shapes.values())


def _flow(changes: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rates of change, rising; and the changes per step of all weights up to each, but the frozen.

    A histogram: counts are whole numbers, whose sums do not depend on the order.
    """
    counts = sum(torch.histc(one.log2(), OCTAVES * PARTS, min=-OCTAVES, max=0) for one in changes)
    rates = torch.linspace(-OCTAVES, 0, OCTAVES * PARTS + 1, device=counts.device)[:-1].exp2()
    return rates, (counts * rates).cumsum(0)


def _trits(weight):
    """Trits and scales of matrices [N, M, K]."""
    scale = weight.abs().mean((1, 2), keepdim=True).clamp(min=FLOOR)
    return (weight / scale).round().clamp(-1, 1), scale


def _held(weight, trits, scale):
    """Return weights where they have the given trits, clear of the threshold."""
    low, high = (0.5 - KEEP) * scale, (0.5 + KEEP) * scale
    return torch.where(trits == 0, weight.clamp(-low, low), (weight * trits).clamp(high) * trits)
