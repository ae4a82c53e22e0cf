"""The linear recurrence of the MLGRU, over whole sequences (paper, section 3.3.1).

`h[t] = forget[t] h[t-1] + update[t]`, independently for every channel. All of it is float32: with
forget gates near 1 a state sums hundreds of updates, of which bfloat16 would lose most.
"""

import torch

__all__ = ["recurrence", "recurrence_loop"]


def recurrence_loop(forget, update, state=None):
    """Compute all states, one token after another: what `recurrence` is checked against.

    Parameters
    ----------
    forget, update : Tensor
        [B, T, H].
    state : Tensor, optional
        [B, H] before the first token; zeros without it.

    Returns
    -------
    Tensor
        [B, T, H].
    """
    h = torch.zeros_like(update[:, 0]) if state is None else state
    states = []
    for t in range(update.shape[1]):
        h = forget[:, t] * h + update[:, t]
        states.append(h)
    return torch.stack(states, dim=1)


def recurrence(forget, update, state=None):
    """Compute all states in a number of steps that grows with the logarithm of `T`.

    Arguments and result as of `recurrence_loop`; gradients reach `forget` and `update`, and keep
    only those two and the states, not the steps between.
    """
    return _Recurrence.apply(forget, update, state)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, forget, update, state):
        first = update if state is None else update.clone()
        if state is not None:
            first[:, 0] += forget[:, 0] * state
        h = _prefix(forget, first)
        ctx.save_for_backward(forget, h, state)
        return h

    @staticmethod
    def backward(ctx, grad):
        forget, h, state = ctx.saved_tensors
        # The adjoint runs backwards: e[t] = grad[t] + forget[t+1] e[t+1].
        ahead = torch.zeros_like(forget)
        ahead[:, :-1] = forget[:, 1:]
        adjoint = _prefix(ahead.flip(1), grad.flip(1)).flip(1)
        before = torch.zeros_like(h)
        before[:, 1:] = h[:, :-1]
        if state is not None:
            before[:, 0] = state
        return adjoint * before, adjoint, None


def _prefix(forget, update):
    """Combine neighbours, then pairs of pairs, and so on (Hillis and Steele, 1986)."""
    forget, h = forget.clone(), update.clone()
    distance = 1
    while distance < h.shape[1]:
        h[:, distance:] = h[:, distance:] + forget[:, distance:] * h[:, :-distance]
        forget[:, distance:] = forget[:, distance:] * forget[:, :-distance]
        distance *= 2
    return h
