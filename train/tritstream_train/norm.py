"""Residual add, the two norms in front of a BitLinear, and its quantiser, in one pass over a row.

A block's norm and the projection's own follow each other: `y = rms(rms(x) a) n`. Projections that
read the same input share everything but their gains `n`. The backward pass starts from `x` alone:
root mean squares and codes are computed again, since `x` has to be read for the gradient anyway.
"""

import torch
import triton
import triton.language as tl

from tritstream_train.kernels import (
    LINEAR_EPS,
    loop_launch,
    quantised,
    row_launch,
    row_programs,
)

__all__ = ["norm_backward", "norm_quantise"]


@triton.jit
def _norms(x, gain, columns, eps):
    """Normalise a row twice: the outer result without its gain, the inner, and both factors."""
    outer = tl.rsqrt(tl.sum(x * x, axis=0) / columns + eps)
    x = x * outer
    y = x * gain
    inner = tl.rsqrt(tl.sum(y * y, axis=0) / columns + LINEAR_EPS)
    return x, y * inner, outer, inner


@triton.jit
def _store_codes(y, codes, steps, row, place, mask):
    values, step = quantised(y)
    tl.store(codes + place, values.to(tl.int8), mask=mask)
    tl.store(steps + row, step)


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
    _, y, _, _ = _norms(value, tl.load(gain + column, mask=mask, other=0.0), columns, eps)
    _store_codes(y * tl.load(n0 + column, mask=mask, other=0.0), codes, steps, row, place, mask)
    if COUNT == 3:
        size = rows.to(tl.int64) * columns
        _store_codes(y * tl.load(n1 + column, mask=mask, other=0.0), codes, steps,
                     rows + row, size + place, mask)
        _store_codes(y * tl.load(n2 + column, mask=mask, other=0.0), codes, steps,
                     2 * rows + row, 2 * size + place, mask)


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


@triton.jit
def _share(dy, scales, values, n, y, sums, number: tl.constexpr, size, place, column, mask):
    """One projection's part of the gradient of `y`; its input as the product saw it."""
    gain = tl.load(n + column, mask=mask, other=0.0)
    codes, step = quantised(y * gain)
    tl.store(values + number * size + place, (codes * step).to(values.dtype.element_ty), mask=mask)
    grad = tl.load(dy + number * size + place, mask=mask, other=0.0).to(tl.float32)
    grad *= tl.load(scales + number)
    return grad * gain, sums + grad * y


def _three(gains):
    """Three arguments for a kernel, of which it uses one or all."""
    return gains if len(gains) == 3 else gains * 3


@triton.jit(do_not_specialize=["rows"])
def _backward_kernel(kept, dy, scales, residual, gain, n0, n1, n2, dx, dx_low, values, partial,
                     rows, columns, eps, COUNT: tl.constexpr, RESIDUAL: tl.constexpr,
                     BLOCK: tl.constexpr, STAGES: tl.constexpr):
    column = tl.arange(0, BLOCK)
    mask = column < columns
    stride = columns.to(tl.int64)
    size = rows * stride
    outer_gain = tl.load(gain + column, mask=mask, other=0.0)
    sums = tl.zeros((BLOCK,), tl.float32)
    sums0 = tl.zeros((BLOCK,), tl.float32)
    sums1 = tl.zeros((BLOCK,), tl.float32)
    sums2 = tl.zeros((BLOCK,), tl.float32)
    for number in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        place = number * stride + column
        value = tl.load(kept + place, mask=mask, other=0.0).to(tl.float32)
        x, y, outer, inner = _norms(value, outer_gain, columns, eps)
        grad, sums0 = _share(dy, scales, values, n0, y, sums0, 0, size, place, column, mask)
        if COUNT == 3:
            part, sums1 = _share(dy, scales, values, n1, y, sums1, 1, size, place, column, mask)
            grad += part
            part, sums2 = _share(dy, scales, values, n2, y, sums2, 2, size, place, column, mask)
            grad += part
        grad = inner * (grad - y * (tl.sum(grad * y, axis=0) / columns))
        sums += grad * x
        grad *= outer_gain
        grad = outer * (grad - x * (tl.sum(grad * x, axis=0) / columns))
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
    programs = row_programs(kept, columns)
    partial = torch.empty(programs, 1 + count, columns, device=kept.device)
    _backward_kernel[(programs,)](
        kept, dy, scales, dx if residual is None else residual, gain, *_three(gains), dx, dx_low,
        values, partial, rows, columns, eps,
        COUNT=count, RESIDUAL=residual is not None, **loop_launch(columns))
    return dx, dx_low, values, partial.sum(0)
