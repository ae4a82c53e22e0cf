"""Weights that keep changing their trit freeze, and no others."""

import math

import pytest
import torch

from tritstream_train.bitlinear import ternarise
from tritstream_train.freeze import FALLING, FIRST, KEEP, LAST, SHORTEST, FreezingAdamW, freezing

RATE = 0.01


def start(seed, shape=(40, 30), count=2):
    """Matrices of which no element is near a threshold."""
    generator = torch.Generator().manual_seed(seed)
    steps = [torch.randint(-1, 2, shape, generator=generator) for _ in range(count)]
    return [torch.nn.Parameter(step + 0.1 * torch.rand(shape, generator=generator))
            for step in steps]


def trits(matrices):
    return torch.stack([ternarise(matrix.detach()).sign() for matrix in matrices])


def restless(seed, matrices):
    """Weights, a tenth, that are put on the threshold and pushed away from wherever they are."""
    generator = torch.Generator().manual_seed(seed + 1)
    chosen = torch.rand(len(matrices), *matrices[0].shape, generator=generator) < 0.1
    with torch.no_grad():
        for matrix, some in zip(matrices, chosen, strict=True):
            matrix[some] = 0.5 * matrix.abs().mean() * matrix[some].sign()
    return chosen


def push(matrices, chosen):
    """Gradients that drive the chosen weights over the threshold, to and fro."""
    for matrix, some, now in zip(matrices, chosen, trits(matrices), strict=True):
        outwards = torch.where(now == 0, -matrix.detach().sign(), matrix.detach().sign())
        matrix.grad = torch.where(some, outwards, 0)


def test_the_threshold_falls_over_the_last_steps():
    def threshold(step, total=1000, share=0.5, warmup=0):
        return freezing(step, total, warmup, share)["threshold"]

    last = LAST / SHORTEST
    assert threshold(499) == math.inf
    assert threshold(5, None, warmup=6) == threshold(599, warmup=600) == math.inf
    assert threshold(500) == FIRST
    assert threshold(500 + int(250 * FALLING)) == pytest.approx(math.sqrt(FIRST * last))
    assert threshold(999) == pytest.approx(last)
    assert {threshold(step, 10, 0.0) for step in range(10)} == {math.inf}
    assert freezing(0, 100_000, 9, 0.5)["memory"] == 500


def test_without_a_threshold_it_is_adamw(seed):
    ours, theirs = start(seed), start(seed)
    optimizers = [FreezingAdamW([{"params": ours, "threshold": math.inf, "memory": 50.0}], lr=RATE),
                  torch.optim.AdamW(theirs, lr=RATE)]
    for matrices, optimizer in zip((ours, theirs), optimizers, strict=True):
        for matrix in matrices:
            matrix.grad = matrix.detach().cos()
        optimizer.step()
        assert optimizer.state[matrices[0]].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_restless_weights_freeze_and_stay(seed):
    matrices = start(seed)
    chosen = restless(seed, matrices)
    optimizer = FreezingAdamW([{"params": matrices, "threshold": 0.1, "memory": 50.0}], lr=RATE,
                              weight_decay=0)
    for _ in range(60):
        push(matrices, chosen)
        optimizer.step()
    frozen = torch.stack([optimizer.state[matrix]["changes"] for matrix in matrices]).isinf()
    assert not (frozen & ~chosen).any()
    assert (frozen & chosen).sum() > 0.9 * chosen.sum()
    kept = trits(matrices)
    for _ in range(60):
        push(matrices, chosen)
        optimizer.step()
        assert torch.equal(trits(matrices)[frozen], kept[frozen])
    ratios = torch.stack([matrix.detach().abs() / matrix.abs().mean() for matrix in matrices])
    assert ((ratios - 0.5).abs() > 0.9 * KEEP)[frozen].all()


def test_a_weight_freezes_at_the_trit_that_it_mostly_had(seed):
    matrix, = matrices = start(seed, count=1)
    optimizer = FreezingAdamW([{"params": matrices, "threshold": math.inf, "memory": 50.0}], lr=0.0)
    scale = float(matrix.detach().abs().mean())

    def put(ratio):
        with torch.no_grad():
            matrix[0, :10] = ratio * scale
        matrix.grad = torch.zeros_like(matrix)
        optimizer.step()

    optimizer.param_groups[0]["threshold"] = 1.0
    put(0.8)
    optimizer.state[matrix]["trit"][0, :10] = 0.9
    optimizer.state[matrix]["changes"][0, :10] = 0.3
    optimizer.param_groups[0]["threshold"] = 0.2
    put(0.4)
    assert (trits(matrices)[0, 0, :10] == 1).all()
    assert optimizer.state[matrix]["changes"][0, :10].isinf().all()
    assert optimizer.state[matrix]["changes"][1:].isfinite().all()
