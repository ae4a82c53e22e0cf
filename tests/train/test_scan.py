"""The parallel recurrence, against a loop."""

import pytest
import torch

from tritstream_train.scan import recurrence, recurrence_loop


def inputs(length, with_state):
    generator = torch.Generator().manual_seed(length)
    forget = torch.rand(2, length, 5, generator=generator, dtype=torch.float64)
    update = torch.randn(2, length, 5, generator=generator, dtype=torch.float64)
    state = torch.randn(2, 5, generator=generator, dtype=torch.float64) if with_state else None
    return forget.requires_grad_(), update.requires_grad_(), state


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 16, 33])
def test_states_and_gradients(length, with_state):
    forget, update, state = inputs(length, with_state)
    weights = torch.randn(2, length, 5, dtype=torch.float64)
    results = []
    for function in (recurrence_loop, recurrence):
        h = function(forget, update, state)
        results.append((h, *torch.autograd.grad((h * weights).sum(), (forget, update))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
