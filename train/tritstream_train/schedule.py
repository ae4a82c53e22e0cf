"""Learning rates over the steps of a run, relative to the peak."""

import math

__all__ = ["rate_factor"]


def rate_factor(step: int, total: int | None, *, warmup: int, schedule: str, decay: float = 0.3,
                final: float = 0.0) -> float:
    """Relative learning rate of a step.

    It rises; then `linear` and `cosine` fall towards what it would be after the last step, and
    `wsd` (warm-up, stable, decay: arXiv 2404.06395, section 4) stays at 1 for a while, and falls
    linearly from there.

    Parameters
    ----------
    step : int
        From 0.
    total : int or None
        Steps of the run; None if not yet known, which the warm-up does not need.
    warmup : int
        Steps in which it rises.
    schedule : str
        `linear`, `cosine` or `wsd`.
    decay : float
        Share of all steps in which `wsd` falls.
    final : float
        What it falls to.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "wsd":
        warmup = max(warmup, round(total * (1 - decay)))
    progress = min(1.0, max(0.0, (step - warmup) / max(1, total - warmup)))
    if schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
    return final + (1 - final) * (1 - progress)
