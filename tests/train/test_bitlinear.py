"""BitLinear and its kernels: norms, quantisers, products, and gradients straight through."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tritstream.model.checkpoint import ternarise
from tritstream_train.kernels.gates import (
    glu_backward,
    glu_quantise,
    output_gate_backward,
    output_gate_quantise,
)
from tritstream_train.kernels.norm import norm_backward, norm_quantise
from tritstream_train.kernels.ternary import magnitudes, product, ternary_codes
from tritstream_train.model.bitlinear import LINEAR_EPS, BitLinear, quantise
from tritstream_train.model.bitlinear import ternarise as plain_ternarise

EPS = 1e-5
ROWS, COLUMNS = 5, 40


def rms(x, gain, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def straight_through(y):
    return y + (quantise(y) - y).detach()


def draw(*shape, seed=0, positive=False):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return (0.3 * values).exp() if positive else values


def check_codes(codes, steps, expected):
    """The largest has code 127, and every code is the nearest."""
    assert codes.dtype == torch.int8
    torch.testing.assert_close(127 * steps, expected.abs().amax(-1))
    assert (expected / steps[:, None] - codes).abs().max() < 0.5001


def test_layer_is_the_published_formula():
    torch.manual_seed(1)
    layer = BitLinear(24, 10)
    with torch.no_grad():
        layer.weight.normal_()
        layer.norm.weight.uniform_(0.5, 2)
        x = 5 * torch.randn(3, 24)
        codes, scale = ternarise(layer.weight.numpy())
        y = rms(x, layer.norm.weight, LINEAR_EPS)
        step = y.abs().amax(-1, keepdim=True) / 127
        expected = (y / step).round() @ torch.from_numpy(codes).float().T * scale * step
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_rounds_half_away_from_zero():
    y = torch.tensor([[127.0, 0.5, -0.5, 1.5, -2.5, 0.49]])
    assert quantise(y).tolist() == [[127, 1, -1, 2, -3, 0]]


def test_a_row_of_zeros_stays_zero():
    layer = BitLinear(8, 4)
    torch.nn.init.normal_(layer.weight)
    assert not layer(torch.zeros(2, 8)).any()


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_ternary_codes_are_those_of_the_checkpoint(count, dtype):
    weights = [0.02 * draw(30, 150, seed=number) for number in range(count)]
    codes, scales = ternary_codes(weights, magnitudes(weights), dtype)
    assert codes.dtype == dtype
    for weight, ours, scale in zip(weights, codes, scales, strict=True):
        theirs, reference = ternarise(weight.numpy())
        assert np.array_equal(ours.numpy(), theirs)
        assert scale == pytest.approx(reference, rel=1e-6)
        torch.testing.assert_close(ours * scale, plain_ternarise(weight))


@pytest.mark.parametrize("n, m, k", [(3, 5, 32), (7, 130, 96), (130, 6, 200)])
def test_products_are_exact(n, m, k):
    rng = np.random.default_rng(k)
    x = torch.from_numpy(rng.integers(-127, 128, (2, n, k), np.int8))
    codes = torch.from_numpy(rng.integers(-1, 2, (2, m, k), np.int8))
    ones = torch.ones(2, n)
    sums = product(x, ones, codes, ones[:, 0], torch.float32)
    assert torch.equal(sums, (x.float() @ codes.float().mT))
    steps = draw(2, n, positive=True)
    scaled = product(x, steps, codes, torch.tensor([0.5, 2.0]), torch.float32)
    torch.testing.assert_close(scaled, sums * steps[..., None] * torch.tensor([0.5, 2.0])[:, None,
                                                                                          None])


@pytest.mark.parametrize("with_delta", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_norm_and_its_gradients(count, with_delta):
    x = 3 * draw(ROWS, COLUMNS)
    delta = draw(ROWS, COLUMNS, seed=1) if with_delta else None
    gain = draw(COLUMNS, seed=2, positive=True).requires_grad_()
    gains = [draw(COLUMNS, seed=3 + n, positive=True).requires_grad_() for n in range(count)]
    dy, scales = draw(count, ROWS, COLUMNS, seed=9), draw(count, seed=10, positive=True)
    residual = draw(ROWS, COLUMNS, seed=11)

    total = (x + delta if with_delta else x.clone()).requires_grad_()
    inner = [rms(rms(total, gain, EPS), n, LINEAR_EPS) for n in gains]
    loss = (total * residual).sum()
    for y, grad, scale in zip(inner, dy, scales, strict=True):
        loss = loss + (straight_through(y) * grad * scale).sum()
    expected = torch.autograd.grad(loss, [total, gain, *gains])

    with torch.no_grad():
        ours, kept, codes, steps = norm_quantise(x, delta, gain, gains, EPS, torch.float32)
        torch.testing.assert_close(ours, total)
        for number, y in enumerate(inner):
            check_codes(codes[number], steps[number], y)
        dx, low, values, dgains = norm_backward(kept, dy, scales, residual, gain, gains, EPS)
        torch.testing.assert_close(values, codes * steps[..., None])
    torch.testing.assert_close(dx, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(low, dx)
    torch.testing.assert_close(dgains, torch.stack(expected[1:]), rtol=1e-4, atol=1e-5)


def test_glu_and_its_gradients():
    ab = draw(ROWS, 2 * COLUMNS).requires_grad_()
    gain = draw(COLUMNS, seed=1, positive=True).requires_grad_()
    dy, scale = draw(ROWS, COLUMNS, seed=2), torch.tensor([0.7])
    a, b = ab.chunk(2, dim=-1)
    y = rms(functional.silu(a) * b, gain, LINEAR_EPS)
    expected = torch.autograd.grad((straight_through(y) * dy * scale).sum(), [ab, gain])
    with torch.no_grad():
        codes, steps = glu_quantise(ab, gain)
        check_codes(codes[0], steps[0], y)
        dab, values, dgain = glu_backward(ab, dy, scale, gain)
        torch.testing.assert_close(values, codes[0] * steps[0, :, None])
    torch.testing.assert_close(dab, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dgain, expected[1], rtol=1e-4, atol=1e-5)


def test_output_gate_and_its_gradients():
    g, h = (draw(ROWS, COLUMNS, seed=n).requires_grad_() for n in range(2))
    weight, gain = (draw(COLUMNS, seed=n, positive=True).requires_grad_() for n in range(2, 4))
    dy, scale = draw(ROWS, COLUMNS, seed=4), torch.tensor([0.7])
    y = rms(rms(g, weight, EPS) * functional.silu(h), gain, LINEAR_EPS)
    loss = (straight_through(y) * dy * scale).sum()
    expected = torch.autograd.grad(loss, [g, h, weight, gain])
    with torch.no_grad():
        codes, steps = output_gate_quantise(g, h, weight, gain, EPS)
        check_codes(codes[0], steps[0], y)
        dg = torch.empty_like(g)
        dh, values, dgains = output_gate_backward(g, h, dy, scale, weight, gain, EPS, dg)
        torch.testing.assert_close(values, codes[0] * steps[0, :, None])
    for ours, theirs in zip((dg, dh, *dgains), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
