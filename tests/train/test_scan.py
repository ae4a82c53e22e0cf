"""The recurrence in parallel, against a loop."""

import pytest
import torch
from torch.nn import functional

from tritstream_train.kernels import mlgru as module
from tritstream_train.kernels.mlgru import mlgru, mlgru_backward, mlgru_states
from tritstream_train.model.scan import recurrence, recurrence_loop

CHANNELS = 5


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 16, 33])
def test_states_and_gradients(length, with_state):
    forget = draw(2, length, CHANNELS, seed=1).double().sigmoid().requires_grad_()
    update = draw(2, length, CHANNELS, seed=2).double().requires_grad_()
    state = draw(2, CHANNELS, seed=3).double() if with_state else None
    weights = draw(2, length, CHANNELS, seed=4).double()
    results = []
    for function in (recurrence_loop, recurrence):
        h = function(forget, update, state)
        results.append((h, *torch.autograd.grad((h * weights).sum(), (forget, update))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_gates_and_recurrence_in_chunks(monkeypatch, length, with_state):
    monkeypatch.setattr(module, "CHUNK", 4)
    i, f = (draw(2, length, CHANNELS, seed=n).requires_grad_() for n in (1, 2))
    bound = draw(CHANNELS, seed=3).sigmoid().requires_grad_()
    state = draw(2, CHANNELS, seed=4) if with_state else None
    dh = draw(2, length, CHANNELS, seed=5)
    forget = bound + (1 - bound) * f.sigmoid()
    expected = recurrence_loop(forget, functional.silu(i) * (1 - forget), state)
    gradients = torch.autograd.grad((expected * dh).sum(), (i, f, bound))

    with torch.no_grad():
        h, carry = mlgru(i, f, bound, state)
        torch.testing.assert_close(h, expected)
        torch.testing.assert_close(carry[:, -1], expected[:, -1])
        assert torch.equal(mlgru_states(i, f, bound, carry), h)
        di, df = torch.empty_like(i), torch.empty_like(f)
        dbound = mlgru_backward(i, f, h, dh, bound, carry, di, df)
    for ours, theirs in zip((di, df, dbound), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_long_sequences_take_longer_chunks():
    assert module._chunking(1) == (32, 1)
    assert module._chunking(4096) == (32, 128)
    assert module._chunking(4097) == (64, 65)
    assert module._chunking(1 << 20) == (8192, 128)
