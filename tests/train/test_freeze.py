"""Weights that keep changing their trit freeze, and no others."""

import math

import pytest
import torch

from tritstream_train.model.bitlinear import ternarise
from tritstream_train.optim import freeze
from tritstream_train.optim.freeze import (
    FALLING,
    FREEZINGS,
    KEEP,
    SHORTEST,
    FreezingAdamW,
    freezing,
)

RATE = 0.01


def start(seed, shape=(40, 30), count=3):
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


def test_what_is_allowed_falls_over_the_last_steps():
    def allowed(step, total=4000, share=0.5, warmup=0):
        return freezing(step, total, warmup, share)["allowed"]

    assert allowed(1999) is allowed(2399, warmup=2400) is None
    assert {allowed(step, 10, 0.0) for step in range(10)} == {None}
    assert {allowed(step) for step in range(2000, 2100)} == {math.inf}      # counting
    values = [allowed(step) for step in range(2100, 4000)]
    some = [value for value in values if value < math.inf]
    assert len(some) == 1900 // (SHORTEST // FREEZINGS)
    assert some == sorted(some, reverse=True) and some[0] > 0.99
    assert values.index(0) == pytest.approx(2000 * FALLING - 100, abs=2)
    assert [freezing(step, 100_000, 9, 0.5)["memory"] for step in (50_000, 50_001, 99_999)] == [
        1, 2, 500]
    assert freezing(2400, 4000, 2400, 0.5) == {"allowed": math.inf, "memory": 1}
    assert allowed(3999, warmup=2400) == 0 < allowed(3199, warmup=2400) < 0.6
    assert [allowed(step, 40) for step in (19, 20, 24, 39)] == [None, math.inf, math.inf, 0]


def test_without_counting_it_is_adamw(seed):
    ours, theirs = start(seed), start(seed)
    optimizers = [FreezingAdamW([{"params": ours, "allowed": None, "memory": 50.0}], lr=RATE),
                  torch.optim.AdamW(theirs, lr=RATE)]
    for matrices, optimizer in zip((ours, theirs), optimizers, strict=True):
        for matrix in matrices:
            matrix.grad = matrix.detach().cos()
        optimizer.step()
        assert optimizer.state[matrices[0]].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def states(optimizer, name):
    return torch.stack([state[name] for state in optimizer.state.values()])


def test_restless_weights_freeze_and_stay(seed):
    matrices = start(seed)
    chosen = restless(seed, matrices)
    optimizer = FreezingAdamW([{"params": matrices, "allowed": math.inf, "memory": 50.0}], lr=RATE,
                              weight_decay=0)
    group, = optimizer.param_groups
    for _ in range(60):
        push(matrices, chosen)
        optimizer.step()
    assert states(optimizer, "changes").isfinite().all()
    assert states(optimizer, "changes").max() < 1
    group["allowed"] = 0.0
    push(matrices, chosen)
    optimizer.step()
    frozen = states(optimizer, "changes").isinf()
    assert not (frozen & ~chosen).any()
    assert (frozen & chosen).sum() > 0.9 * chosen.sum()
    group["allowed"], kept = math.inf, trits(matrices)
    for _ in range(60):
        push(matrices, chosen)
        optimizer.step()
        assert torch.equal(trits(matrices)[frozen], kept[frozen])
    ratios = torch.stack([matrix.detach().abs() / matrix.abs().mean() for matrix in matrices])
    assert ((ratios - 0.5).abs() > 0.9 * KEEP)[frozen].all()


@pytest.fixture
def counted(seed):
    """A matrix and an optimiser that has counted, with all that it holds of the matrix."""
    matrix, = matrices = start(seed, count=1)
    optimizer = FreezingAdamW([{"params": matrices, "allowed": math.inf, "memory": 50.0}], lr=0.0)
    matrix.grad = torch.zeros_like(matrix)
    optimizer.step()
    return matrix, optimizer, optimizer.state[matrix]


def test_a_weight_freezes_at_the_trit_that_it_mostly_had(counted):
    matrix, optimizer, state = counted
    with torch.no_grad():
        matrix[0, :10] = 0.4 * matrix.abs().mean()
    state["trit"][0, :10] = 0.9
    state["changes"][0, :10] = 0.3
    optimizer.param_groups[0]["allowed"] = 0.0
    optimizer.step()
    assert (trits([matrix])[0, 0, :10] == 1).all()
    assert state["changes"][0, :10].isinf().all()
    assert state["changes"][1:].isfinite().all()


def test_the_most_restless_freeze_until_the_rest_is_allowed(counted):
    matrix, optimizer, state = counted
    group, = optimizer.param_groups
    group["memory"] = 1e9                       # so that a step does not change the counts
    state["changes"][:] = torch.linspace(0, 0.5, matrix.numel()).view(matrix.shape)
    first, before = float(state["changes"].sum()), state["changes"].clone()
    for allowed in (1.0, 0.5, 0.1, 0.0):
        group["allowed"] = allowed
        optimizer.step()
        left = state["changes"].isfinite()
        assert before[left].sum() <= allowed * first * 1.03
        assert before[left].sum() >= allowed * first * 0.95 - 0.01
        if allowed < 1:
            assert before[left].max() <= before[~left].min()
    assert group["first"] == pytest.approx(first, rel=0.03)


def test_flow_is_the_sum_of_the_changes(seed):
    changes = torch.rand(50, 60, generator=torch.Generator().manual_seed(seed)) / 3
    changes[0], changes[1] = math.inf, 0
    rates, flow = freeze._flow([changes[:20], changes[20:]])
    assert flow[-1] == pytest.approx(float(changes[1:].sum()), rel=0.02)
    some = rates[(rates < 0.1).sum()]
    below = changes[changes < some].sum()
    assert flow[(rates < some).sum() - 1] == pytest.approx(float(below), rel=0.03)


def test_trits_are_averaged(seed):
    """Over all steps at first, and then over so many that the oldest no longer count."""
    matrix, = matrices = start(seed, count=1)
    optimizer = FreezingAdamW([{"params": matrices}], lr=0.0)
    matrix.grad = torch.zeros_like(matrix)
    mean = 0.0
    for step, trit in enumerate([1, 1, -1, 0, 1, -1, -1, 0], 1):
        memory = min(step, 4)
        optimizer.param_groups[0] |= {"allowed": math.inf, "memory": memory}
        with torch.no_grad():
            matrix[0, 0] = 1.0 * trit
        optimizer.step()
        mean += (trit - mean) / memory
        assert float(optimizer.state[matrix]["trit"][0, 0]) == pytest.approx(mean)


def test_changes_are_averaged(seed):
    """Of a weight that the gradient pushes over the threshold in the first of ten steps."""
    matrix, = matrices = start(seed, count=1)
    optimizer = FreezingAdamW([{"params": matrices, "memory": 5}], lr=1e-3, weight_decay=0)
    with torch.no_grad():
        matrix[0, 0] = 0.5 * matrix.abs().mean() - 5e-4
    for step in range(10):
        optimizer.param_groups[0]["allowed"] = math.inf
        matrix.grad = torch.zeros_like(matrix)
        matrix.grad[0, 0] = -1.0
        optimizer.step()
        assert float(optimizer.state[matrix]["changes"][0, 0]) == pytest.approx(0.2 * 0.8 ** step)
    assert not optimizer.state[matrix]["changes"][1:].any()


def test_matrices_of_all_shapes_freeze(seed):
    matrices = start(seed, (40, 30), 2) + start(seed, (20, 50), 2)
    optimizer = FreezingAdamW([{"params": matrices, "allowed": math.inf, "memory": 50.0}], lr=RATE,
                              weight_decay=0)
    with torch.no_grad():
        for matrix in matrices:
            matrix[0] = 0.5 * matrix.abs().mean()
    for step in range(60):
        optimizer.param_groups[0]["allowed"] = 0.0 if step == 59 else math.inf
        for matrix in matrices:
            matrix.grad = torch.zeros_like(matrix)
            now = ternarise(matrix.detach()).sign()[0]
            matrix.grad[0] = torch.where(now == 0, -1.0, 1.0)
        optimizer.step()
    for matrix in matrices:
        frozen = optimizer.state[matrix]["changes"].isinf()
        assert frozen[0].float().mean() > 0.9 and not frozen[1:].any()


def test_what_is_held_keeps_clear_of_the_threshold():
    held = freeze._held(torch.tensor([0.49, -0.49, 0.2, 0.9, -0.51, 0.3]),
                        torch.tensor([0, 0, 0, 1, -1, 1]), 1.0)
    torch.testing.assert_close(held, torch.tensor([0.45, -0.45, 0.2, 0.9, -0.55, 0.55]))
