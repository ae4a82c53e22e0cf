"""Ternary weights as codes, and their product with int8 activations on the tensor cores.

Sums of int8 times trits are exact in int32, so that a product is rounded once, where it is stored.
"""

import torch
import triton
import triton.language as tl

__all__ = ["product", "ternary_codes"]

SCALE_FLOOR = tl.constexpr(1e-5)
CODES_BLOCK = 4096
TILE = {"BLOCK_N": 128, "BLOCK_M": 256, "BLOCK_K": 128, "GROUP": 8,
        "num_warps": 8, "num_stages": 4}
SMALL_TILE = {"BLOCK_N": 64, "BLOCK_M": 64, "BLOCK_K": 64, "GROUP": 8,
              "num_warps": 4, "num_stages": 3}


@triton.jit
def _codes_kernel(weight, total, codes, scale, size, BLOCK: tl.constexpr):
    mean = tl.maximum(tl.load(total) / size, SCALE_FLOOR)
    tl.store(scale, mean)
    block = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    w = tl.load(weight + block, mask=block < size, other=0.0) / mean
    # Half to even: exactly one half becomes 0, and three halves are clipped anyway.
    trits = tl.where(tl.abs(w) > 0.5, tl.where(w > 0, 1.0, -1.0), 0.0)
    tl.store(codes + block, trits.to(codes.dtype.element_ty), mask=block < size)


def ternary_codes(weights, dtype=torch.int8):
    """Codes and scales of matrices of one shape.

    Parameters
    ----------
    weights : sequence of Tensor
        `C` float32 matrices [M, K].
    dtype : torch.dtype
        Of the codes.

    Returns
    -------
    codes : Tensor
        -1, 0 or 1, [C, M, K].
    scales : Tensor
        Mean magnitudes, float32 [C].
    """
    first = weights[0]
    codes = torch.empty(len(weights), *first.shape, dtype=dtype, device=first.device)
    scales = torch.empty(len(weights), device=first.device)
    size = first.numel()
    for number, weight in enumerate(weights):
        total = torch.linalg.vector_norm(weight, 1)
        _codes_kernel[(triton.cdiv(size, CODES_BLOCK),)](
            weight.contiguous(), total, codes[number], scales[number:], size, BLOCK=CODES_BLOCK)
    return codes, scales


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
    tile = TILE if min(n, m) >= 128 else SMALL_TILE
    grid = (triton.cdiv(n, tile["BLOCK_N"]) * triton.cdiv(m, tile["BLOCK_M"]), count)
    _product_kernel[grid](x, codes, out, steps, scales, n, m, k,
                          EVEN_K=k % tile["BLOCK_K"] == 0, **tile)
    return out
