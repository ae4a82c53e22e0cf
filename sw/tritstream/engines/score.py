"""How likely a model takes a text for, from its logits."""

import numpy as np

__all__ = ["score_logits"]


def score_logits(logits, targets) -> tuple[float, np.ndarray]:
    """Score logits [T, V] with the tokens that follow.

    Returns
    -------
    nats : float
        Sum of the negative log-likelihoods of the targets.
    favourites : ndarray
        Most likely tokens, int64 [T].
    """
    logits, targets = np.asarray(logits, np.float64), np.asarray(targets, np.int64)
    peak = logits.max(axis=-1)
    log_sum = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=-1))
    nats = float((log_sum - logits[np.arange(len(targets)), targets]).sum())
    return nats, logits.argmax(axis=-1)
