"""Residual add, the two norms in front of a BitLinear, and its quantiser, in one pass over a row.

A block's norm and the projection's own follow each other: `y = rms(rms(x) a) n`. Projections that
read the same input share everything but their gains `n`. The backward pass starts from `x` alone:
root mean squares and codes are computed again, since `x` has to be read for the gradient anyway.
"""

import torch
import triton
import triton.language as tl

from tritstream_train.kernels.common import (
    LINEAR_EPS,
    combine3,
    combine4,
    loop_launch,
    row_launch,
    row_programs,
    store_codes,
    store_values,
)

__all__ = ["norm_backward", "norm_quantise"]


@triton.jit
def _combine5(x0, y0, m0, n0, o0, x1, y1, m1, n1, o1):
    return x0 + x1, y0 + y1, tl.maximum(m0, m1), tl.maximum(n0, n1), tl.maximum(o0, o1)


@triton.jit
def _combine6(x0, y0, t0, m0, n0, o0, x1, y1, t1, m1, n1, o1):
    return (x0 + x1, y0 + y1, t0 + t1,
            tl.maximum(m0, m1), tl.maximum(n0, n1), tl.maximum(o0, o1))


@triton.jit
def _factors(x2, y2, columns, eps):
    """Inverse root mean squares of `x`, and of `y = x gain` once `x` is divided by its own."""
    outer = tl.rsqrt(x2 / columns + eps)
    return outer, tl.rsqrt(outer * outer * (y2 / columns) + LINEAR_EPS)


@triton.jit(do_not_specialize=["rows"])
def _quantise_kernel(x, delta, total, kept, gain, n0, n1, n2, codes, steps, rows, columns, eps,
                     COUNT: tl.constexpr, DELTA: tl.constexpr, KEEP: tl.constexpr,
                     BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    place = row * columns + column
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    if DELTA:
        value += tl.load(delta + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(total + place, value, mask=mask)
    if KEEP:
        tl.store(kept + place, value.to(kept.dtype.element_ty), mask=mask)
    y = value * tl.load(gain + column, mask=mask, other=0.0)
    y0 = y * tl.load(n0 + column, mask=mask, other=0.0)
    if COUNT == 1:
        x2, y2, m0 = tl.reduce((value * value, y * y, tl.abs(y0)), 0, combine3)
        outer, inner = _factors(x2, y2, columns, eps)
    else:
        y1 = y * tl.load(n1 + column, mask=mask, other=0.0)
        y3 = y * tl.load(n2 + column, mask=mask, other=0.0)
        x2, y2, m0, m1, m2 = tl.reduce(
            (value * value, y * y, tl.abs(y0), tl.abs(y1), tl.abs(y3)), 0, _combine5)
        outer, inner = _factors(x2, y2, columns, eps)
        size = rows.to(tl.int64) * columns
        store_codes(y1, m1, outer * inner, codes, steps, rows + row, size + place, mask)
        store_codes(y3, m2, outer * inner, codes, steps, 2 * rows + row, 2 * size + place, mask)
    store_codes(y0, m0, outer * inner, codes, steps, row, place, mask)


def norm_quantise(x, delta, gain, gains, eps, dtype):
    """Add, normalise twice and quantise.

    Parameters
    ----------
    x : Tensor
        Residual stream before `delta`, float32 [N, H].
    delta : Tensor or None
        What to add to it, [N, H].
    gain : Tensor
        Of the block's norm, [H].
    gains : sequence of Tensor
        Of the projections' own norms: one or three, [H].
    eps : float
        Of the block's norm.
    dtype : torch.dtype
        Of what the backward pass keeps.

    Returns
    -------
    total : Tensor
        `x + delta`, float32 [N, H]; `x` itself without a `delta`.
    kept : Tensor
        The same in `dtype`, for `norm_backward`.
    codes : Tensor
        int8 [C, N, H].
    steps : Tensor
        What one code of each row stands for, float32 [C, N].
    """
    rows, columns = x.shape
    count = len(gains)
    total = x if delta is None else torch.empty_like(x)
    kept = total if dtype == x.dtype else torch.empty_like(x, dtype=dtype)
    codes = torch.empty(count, rows, columns, dtype=torch.int8, device=x.device)
    steps = torch.empty(count, rows, device=x.device)
    _quantise_kernel[(rows,)](
        x, x if delta is None else delta, total, kept, gain, *_three(gains), codes, steps, rows,
        columns, eps, COUNT=count, DELTA=delta is not None, KEEP=kept is not total,
        **row_launch(columns))
    return total, kept, codes, steps


def _three(gains):
    """Three arguments for a kernel, of which it uses one or all."""
    return gains if len(gains) == 3 else gains * 3


@triton.jit
def _gradient(dy, scales, number: tl.constexpr, size, place, mask):
    grad = tl.load(dy + number * size + place, mask=mask, other=0.0).to(tl.float32)
    return grad * tl.load(scales + number)


@triton.jit(do_not_specialize=["rows"])
def _backward_kernel(kept, dy, scales, residual, gain, n0, n1, n2, dx, dx_low, values, partial,
                     rows, columns, eps, COUNT: tl.constexpr, RESIDUAL: tl.constexpr,
                     BLOCK: tl.constexpr, STAGES: tl.constexpr):
    column = tl.arange(0, BLOCK)
    mask = column < columns
    stride = columns.to(tl.int64)
    size = rows * stride
    outer_gain = tl.load(gain + column, mask=mask, other=0.0)
    gain0 = tl.load(n0 + column, mask=mask, other=0.0)
    sums = tl.zeros((BLOCK,), tl.float32)
    sums0 = tl.zeros((BLOCK,), tl.float32)
    if COUNT == 3:
        gain1 = tl.load(n1 + column, mask=mask, other=0.0)
        gain2 = tl.load(n2 + column, mask=mask, other=0.0)
        sums1 = tl.zeros((BLOCK,), tl.float32)
        sums2 = tl.zeros((BLOCK,), tl.float32)
    for number in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        place = number * stride + column
        x = tl.load(kept + place, mask=mask, other=0.0).to(tl.float32)
        y = x * outer_gain
        grad0 = _gradient(dy, scales, 0, size, place, mask)
        grad = grad0 * gain0
        if COUNT == 1:
            x2, y2, t, m0 = tl.reduce((x * x, y * y, grad * y, tl.abs(y * gain0)), 0, combine4)
            outer, inner = _factors(x2, y2, columns, eps)
            factor = outer * inner
        else:
            grad1 = _gradient(dy, scales, 1, size, place, mask)
            grad2 = _gradient(dy, scales, 2, size, place, mask)
            grad += grad1 * gain1 + grad2 * gain2
            x2, y2, t, m0, m1, m2 = tl.reduce(
                (x * x, y * y, grad * y,
                 tl.abs(y * gain0), tl.abs(y * gain1), tl.abs(y * gain2)), 0, _combine6)
            outer, inner = _factors(x2, y2, columns, eps)
            factor = outer * inner
            sums1 += grad1 * (y * factor)
            sums2 += grad2 * (y * factor)
            store_values(y * gain1, m1, factor, values, size + place, mask)
            store_values(y * gain2, m2, factor, values, 2 * size + place, mask)
        sums0 += grad0 * (y * factor)
        store_values(y * gain0, m0, factor, values, place, mask)
        # Each norm takes out what lies along its result. The outer one's sum, of its result times
        # the gradient of that, follows from the sums over y y and y grad.
        along = factor * t / columns
        grad -= (factor * along) * y
        sums += (factor * grad) * x
        across = outer * outer * along * (1 - factor * factor * (y2 / columns))
        grad = (factor * outer_gain) * grad - across * x
        if RESIDUAL:
            grad += tl.load(residual + place, mask=mask, other=0.0)
        tl.store(dx + place, grad, mask=mask)
        tl.store(dx_low + place, grad.to(dx_low.dtype.element_ty), mask=mask)
    partial += tl.program_id(0) * (COUNT + 1) * columns + column
    tl.store(partial, sums, mask=mask)
    tl.store(partial + columns, sums0, mask=mask)
    if COUNT == 3:
        tl.store(partial + 2 * columns, sums1, mask=mask)
        tl.store(partial + 3 * columns, sums2, mask=mask)


def norm_backward(kept, dy, scales, residual, gain, gains, eps):
    """Gradients of `norm_quantise`, and the quantised inputs for those of the weights.

    Parameters
    ----------
    kept : Tensor
        Of the forward pass, [N, H].
    dy : Tensor
        Gradients of the projections' results times their codes, [C, N, H].
    scales : Tensor
        Of the matrices, float32 [C], by which `dy` is still to be multiplied.
    residual : Tensor or None
        Gradient of `total` from elsewhere, float32 [N, H].
    gain, gains, eps
        As for `norm_quantise`.

    Returns
    -------
    dx : Tensor
        Gradient of `x` and of `delta`, float32 [N, H].
    dx_low : Tensor
        The same in the type of `dy`.
    values : Tensor
        Dequantised inputs of the products, [C, N, H] in the type of `dy`.
    dgains : Tensor
        Gradients of `gain` and of each of `gains`, float32 [1 + C, H].
    """
    rows, columns = kept.shape
    count = len(gains)
    dx = torch.empty(rows, columns, device=kept.device)
    dx_low = dx if dy.dtype == dx.dtype else torch.empty_like(dx, dtype=dy.dtype)
    values = torch.empty_like(dy)
    programs = row_programs(kept, columns, count)
    partial = torch.empty(programs, 1 + count, columns, device=kept.device)
    _backward_kernel[(programs,)](
        kept, dy, scales, dx if residual is None else residual, gain, *_three(gains), dx, dx_low,
        values, partial, rows, columns, eps,
        COUNT=count, RESIDUAL=residual is not None, **loop_launch(columns, count))
    return dx, dx_low, values, partial.sum(0)
