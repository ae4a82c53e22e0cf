"""Ternary weights as codes, and their product with int8 activations on the tensor cores.

Sums of int8 times trits are exact in int32, so that a product is rounded once, where it is stored.
"""

import torch
import triton
import triton.language as tl

__all__ = ["magnitudes", "product", "ternary_codes"]

SCALE_FLOOR = tl.constexpr(1e-5)
BLOCK = 4096                # weights at a time
PARTS = 256                 # of a sum over a matrix
# Two such tiles fit a multiprocessor: one stores while the other multiplies.
TILE = {"BLOCK_N": 128, "BLOCK_M": 128, "BLOCK_K": 128, "GROUP": 8,
        "num_warps": 4, "num_stages": 3}


@triton.jit
def _select(w0, w1, w2, w3, COUNT: tl.constexpr):
    """The matrix that the second dimension of the grid asks for."""
    weight = w0
    if COUNT > 1:
        if tl.program_id(1) == 1:
            weight = w1
        if tl.program_id(1) == 2:
            weight = w2
        if tl.program_id(1) == 3:
            weight = w3
    return weight


@triton.jit
def _magnitudes_kernel(w0, w1, w2, w3, sums, size, COUNT: tl.constexpr, PARTS: tl.constexpr,
                       BLOCK: tl.constexpr):
    weight = _select(w0, w1, w2, w3, COUNT)
    total = tl.zeros((BLOCK,), tl.float32)
    stride = tl.num_programs(0).to(tl.int64) * BLOCK
    block = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    for _ in range(0, tl.cdiv(size, PARTS * BLOCK)):
        total += tl.abs(tl.load(weight + block, mask=block < size, other=0.0))
        block += stride
    tl.store(sums + tl.program_id(1) * PARTS + tl.program_id(0), tl.sum(total, axis=0))


@triton.jit
def _codes_kernel(w0, w1, w2, w3, sums, codes, scales, size, COUNT: tl.constexpr,
                  PARTS: tl.constexpr, BLOCK: tl.constexpr):
    weight = _select(w0, w1, w2, w3, COUNT)
    matrix = tl.program_id(1)
    total = tl.sum(tl.load(sums + matrix * PARTS + tl.arange(0, PARTS)), axis=0)
    scale = tl.maximum(total / size, SCALE_FLOOR)
    tl.store(scales + matrix, scale)
    block = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    w = tl.load(weight + block, mask=block < size, other=0.0) / scale
    # Half to even: exactly one half becomes 0, and three halves are clipped anyway.
    trits = tl.where(tl.abs(w) > 0.5, tl.where(w > 0, 1.0, -1.0), 0.0)
    place = codes + matrix.to(tl.int64) * size + block
    tl.store(place, trits.to(codes.dtype.element_ty), mask=block < size)


def magnitudes(weights):
    """Sums of the magnitudes of parts of each matrix, for `ternary_codes`: float32 [C, PARTS]."""
    sums = torch.empty(len(weights), PARTS, device=weights[0].device)
    _magnitudes_kernel[(PARTS, len(weights))](
        *_four(weights), sums, weights[0].numel(), COUNT=len(weights), PARTS=PARTS, BLOCK=BLOCK)
    return sums


def ternary_codes(weights, sums, dtype=torch.int8):
    """Codes and scales of matrices of one shape.

    Parameters
    ----------
    weights : sequence of Tensor
        `C` float32 matrices [M, K], up to four.
    sums : Tensor
        Their `magnitudes`.
    dtype : torch.dtype
        Of the codes.

    Returns
    -------
    codes : Tensor
        -1, 0 or 1, [C, M, K].
    scales : Tensor
        Mean magnitudes, float32 [C].
    """
    count, size = len(weights), weights[0].numel()
    codes = torch.empty(count, *weights[0].shape, dtype=dtype, device=sums.device)
    scales = torch.empty(count, device=sums.device)
    _codes_kernel[(triton.cdiv(size, BLOCK), count)](
        *_four(weights), sums, codes, scales, size, COUNT=count, PARTS=PARTS, BLOCK=BLOCK)
    return codes, scales


def _four(weights):
    """Four arguments for a kernel, of which it uses as many as there are."""
    return [*weights, *weights[:1] * (4 - len(weights))]


@triton.jit
def _product_kernel(x, codes, out, steps, scales, n, m, k,
                    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
                    GROUP: tl.constexpr, EVEN_K: tl.constexpr):
    matrix = tl.program_id(1).to(tl.int64)
    x += matrix * n * k
    codes += matrix * m * k
    out += matrix * n * m
    # Programs that run together share rows of `x` and of the weights: both stay in the L2 cache.
    program = tl.program_id(0)
    tiles_n, tiles_m = tl.cdiv(n, BLOCK_N), tl.cdiv(m, BLOCK_M)
    first = program // (GROUP * tiles_m) * GROUP
    height = min(tiles_n - first, GROUP)
    tile_n = first + program % (GROUP * tiles_m) % height
    tile_m = program % (GROUP * tiles_m) // height

    rows = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    columns = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    depth = tl.arange(0, BLOCK_K)
    # Rows past the end are computed from the first ones, and not stored.
    left = x + (rows % n).to(tl.int64)[:, None] * k + depth[None, :]
    right = codes + (columns % m).to(tl.int64)[None, :] * k + depth[:, None]
    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.int32)
    for start in range(0, k, BLOCK_K):
        if EVEN_K:
            a, b = tl.load(left), tl.load(right)
        else:
            a = tl.load(left, mask=depth[None, :] < k - start, other=0)
            b = tl.load(right, mask=depth[:, None] < k - start, other=0)
        sums = tl.dot(a, b, sums, out_dtype=tl.int32)
        left += BLOCK_K
        right += BLOCK_K
    step = tl.load(steps + matrix * n + rows, mask=rows < n, other=0.0) * tl.load(scales + matrix)
    values = sums.to(tl.float32) * step[:, None]
    place = out + rows.to(tl.int64)[:, None] * m + columns[None, :]
    tl.store(place, values.to(out.dtype.element_ty),
             mask=(rows[:, None] < n) & (columns[None, :] < m))


def product(x, steps, codes, scales, dtype):
    """Dequantised products of int8 activations and ternary matrices.

    Parameters
    ----------
    x : Tensor
        int8 [C, N, K].
    steps : Tensor
        What one code of each row stands for, float32 [C, N].
    codes : Tensor
        int8 [C, M, K].
    scales : Tensor
        Of the matrices, float32 [C].
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    Tensor
        [C, N, M].
    """
    count, n, k = x.shape
    m = codes.shape[1]
    out = torch.empty(count, n, m, dtype=dtype, device=x.device)
    grid = (triton.cdiv(n, TILE["BLOCK_N"]) * triton.cdiv(m, TILE["BLOCK_M"]), count)
    _product_kernel[grid](x, codes, out, steps, scales, n, m, k,
                          EVEN_K=k % TILE["BLOCK_K"] == 0, **TILE)
    return out
