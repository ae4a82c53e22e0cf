"""What stands in front of the output projections: gate, norm and quantiser, in one pass over a row.

After the MLGRU that is `rms(g) w silu(h)`, in the GLU `silu(a) b`; then follow the projection's own
norm and its int8 quantiser. The backward passes compute everything again from what they have to
read anyway.
"""

import torch
import triton
import triton.language as tl

from tritstream_train.kernels.common import (
    LINEAR_EPS,
    combine3,
    combine4,
    load,
    loop_launch,
    row_launch,
    row_programs,
    silu,
    silu_slope,
    store_codes,
    store_values,
)

__all__ = ["glu_backward", "glu_quantise", "output_gate_backward", "output_gate_quantise"]


@triton.jit
def _combine2(p0, m0, p1, m1):
    return p0 + p1, tl.maximum(m0, m1)


@triton.jit
def _glu_kernel(ab, gain, codes, steps, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    place = row * columns + column
    half = place + row * columns
    p = silu(load(ab, half, mask)) * load(ab, half + columns, mask)
    y = p * load(gain, column, mask)
    p2, amax = tl.reduce((p * p, tl.abs(y)), 0, _combine2)
    factor = tl.rsqrt(p2 / columns + LINEAR_EPS)
    store_codes(y, amax, factor, codes, steps, row, place, mask)


def glu_quantise(ab, gain):
    """Quantise `silu(a) b` for the down projection.

    Parameters
    ----------
    ab : Tensor
        Both halves, [N, 2 I].
    gain : Tensor
        Of the projection's norm, [I].

    Returns
    -------
    codes : Tensor
        int8 [1, N, I].
    steps : Tensor
        float32 [1, N].
    """
    rows, columns = ab.shape[0], ab.shape[1] // 2
    codes = torch.empty(1, rows, columns, dtype=torch.int8, device=ab.device)
    steps = torch.empty(1, rows, device=ab.device)
    _glu_kernel[(rows,)](ab, gain, codes, steps, columns, **row_launch(columns))
    return codes, steps


@triton.jit(do_not_specialize=["rows"])
def _glu_backward_kernel(ab, dy, scale, gain, dab, values, partial, rows, columns,
                         BLOCK: tl.constexpr, STAGES: tl.constexpr):
    column = tl.arange(0, BLOCK)
    mask = column < columns
    stride = columns.to(tl.int64)
    n = load(gain, column, mask)
    sums = tl.zeros((BLOCK,), tl.float32)
    for number in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        place = number * stride + column
        half = place + number * stride
        a, b = load(ab, half, mask), load(ab, half + stride, mask)
        swish = silu(a)
        p = swish * b
        y = p * n
        grad = load(dy, place, mask)
        p2, t, amax = tl.reduce((p * p, grad * y, tl.abs(y)), 0, combine3)
        factor = tl.rsqrt(p2 / columns + LINEAR_EPS)
        store_values(y, amax, factor, values, place, mask)
        times = factor * tl.load(scale)
        sums += grad * (times * p)
        # The norm takes out what lies along its result.
        grad = times * (grad * n - (factor * factor * t / columns) * p)
        tl.store(dab + half, (grad * b * silu_slope(a)).to(dab.dtype.element_ty), mask=mask)
        tl.store(dab + half + stride, (grad * swish).to(dab.dtype.element_ty), mask=mask)
    tl.store(partial + tl.program_id(0) * columns + column, sums, mask=mask)


def glu_backward(ab, dy, scale, gain):
    """Gradients of `glu_quantise`, and the quantised input of the down projection.

    Parameters
    ----------
    ab : Tensor
        [N, 2 I].
    dy : Tensor
        Gradient of the projection's result times its codes, [N, I].
    scale : Tensor
        Of the matrix, float32 [1], by which `dy` is still to be multiplied.
    gain : Tensor
        [I].

    Returns
    -------
    dab : Tensor
        [N, 2 I].
    values : Tensor
        Dequantised input of the product, [N, I].
    dgain : Tensor
        float32 [I].
    """
    rows, columns = dy.shape
    dab, values = torch.empty_like(ab), torch.empty_like(dy)
    programs = row_programs(dy, columns)
    partial = torch.empty(programs, columns, device=dy.device)
    _glu_backward_kernel[(programs,)](ab, dy, scale, gain, dab, values, partial, rows, columns,
                                      **loop_launch(columns))
    return dab, values, partial.sum(0)


@triton.jit
def _gate_factors(g2, z2, columns, eps):
    """Inverse root mean squares of `g`, and of `z` once `g` is divided by its own."""
    outer = tl.rsqrt(g2 / columns + eps)
    return outer, tl.rsqrt(outer * outer * (z2 / columns) + LINEAR_EPS)


@triton.jit
def _gate_kernel(g, h, weight, gain, codes, steps, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    place = row * columns + column
    gate = load(g, place, mask)
    z = gate * load(weight, column, mask) * silu(load(h, place, mask))
    y = z * load(gain, column, mask)
    g2, z2, amax = tl.reduce((gate * gate, z * z, tl.abs(y)), 0, combine3)
    outer, inner = _gate_factors(g2, z2, columns, eps)
    store_codes(y, amax, outer * inner, codes, steps, row, place, mask)


def output_gate_quantise(g, h, weight, gain, eps):
    """Quantise `rms(g) weight silu(h)` for the output projection.

    Parameters
    ----------
    g, h : Tensor
        Gate and states, [N, H].
    weight : Tensor
        Gain of the gate's norm, [H].
    gain : Tensor
        Of the projection's norm, [H].
    eps : float
        Of the gate's norm.

    Returns
    -------
    codes : Tensor
        int8 [1, N, H].
    steps : Tensor
        float32 [1, N].
    """
    rows, columns = g.shape
    codes = torch.empty(1, rows, columns, dtype=torch.int8, device=g.device)
    steps = torch.empty(1, rows, device=g.device)
    _gate_kernel[(rows,)](g, h, weight, gain, codes, steps, columns, eps, **row_launch(columns))
    return codes, steps


@triton.jit(do_not_specialize=["rows"])
def _gate_backward_kernel(g, h, dy, scale, weight, gain, dg, dh, values, partial, rows, columns,
                          eps, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    column = tl.arange(0, BLOCK)
    mask = column < columns
    stride = columns.to(tl.int64)
    w, n = load(weight, column, mask), load(gain, column, mask)
    sums_w, sums_n = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for number in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        place = number * stride + column
        gate, state = load(g, place, mask), load(h, place, mask)
        swish = silu(state)
        z = gate * w * swish
        y = z * n
        grad = load(dy, place, mask)
        g2, z2, t, amax = tl.reduce((gate * gate, z * z, grad * y, tl.abs(y)), 0, combine4)
        outer, inner = _gate_factors(g2, z2, columns, eps)
        factor = outer * inner
        store_values(y, amax, factor, values, place, mask)
        times = factor * tl.load(scale)
        sums_n += grad * (times * z)
        # Each norm takes out what lies along its result; the sum that the one of `g` needs for
        # that follows from those over z z and z grad.
        along = times * t / columns
        grad = times * (grad * n) - (factor * factor * along) * z
        across = outer * outer * along * (1 - factor * factor * (z2 / columns))
        sums_w += grad * gate * swish
        grad *= w
        tl.store(dh + place, (grad * gate * silu_slope(state)).to(dh.dtype.element_ty), mask=mask)
        tl.store(dg + place, (grad * swish - across * gate).to(dg.dtype.element_ty), mask=mask)
    partial += tl.program_id(0) * 2 * columns + column
    tl.store(partial, sums_w, mask=mask)
    tl.store(partial + columns, sums_n, mask=mask)


def output_gate_backward(g, h, dy, scale, weight, gain, eps, dg):
    """Gradients of `output_gate_quantise`, and the quantised input of the output projection.

    Parameters
    ----------
    g, h, weight, gain, eps
        As for `output_gate_quantise`.
    dy : Tensor
        Gradient of the projection's result times its codes, [N, H].
    scale : Tensor
        Of the matrix, float32 [1], by which `dy` is still to be multiplied.
    dg : Tensor
        Filled with the gradient of `g`, [N, H].

    Returns
    -------
    dh : Tensor
        [N, H].
    values : Tensor
        Dequantised input of the product, [N, H].
    dgains : Tensor
        Gradients of `weight` and `gain`, float32 [2, H].
    """
    rows, columns = dy.shape
    dh, values = torch.empty_like(dy), torch.empty_like(dy)
    programs = row_programs(dy, columns)
    partial = torch.empty(programs, 2, columns, device=dy.device)
    _gate_backward_kernel[(programs,)](g, h, dy, scale, weight, gain, dg, dh, values, partial,
                                       rows, columns, eps, **loop_launch(columns))
    return dh, values, partial.sum(0)
