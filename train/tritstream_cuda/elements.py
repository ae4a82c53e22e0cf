"""Element-wise arithmetic of `tritstream.golden`, as functions for Triton kernels.

Tensors have any shape; formats are those of `docs/numerics.md`, whose bounds make a check for
overflow unnecessary here: `pack` proves that nothing can. Shifts to the right round half up.
Factors are int32 and only products int64: that is one instruction instead of many.
"""

import numpy as np
import triton
import triton.language as tl

from tritstream.golden.elementwise import SIGMOID_BASE, SIGMOID_DELTA

__all__ = ["SIGMOID_TABLE", "dequantise", "gate", "gained", "opened", "quantise", "recur",
           "sigmoid", "silu", "squares"]

SIGMOID_TABLE = (SIGMOID_BASE | SIGMOID_DELTA << 16).astype(np.int32)
"""Start of each segment of `sigmoid(-x)` in 16 bits, and above them how much it falls."""


@triton.jit
def dequantise(acc, mantissa, shift):
    """Scale int32 row sums: `(acc * mantissa << 10) >> shift`, rounded; int32.

    `mantissa`, of 16 bits, and `shift` are int64.
    """
    half = (tl.full(shift.shape, 1, tl.int64) << shift) >> 1
    return ((acc.to(tl.int64) * (mantissa << 10).to(tl.int32) + half) >> shift).to(tl.int32)


@triton.jit
def sigmoid(x, fraction, table):
    """Sigmoid of int32 `x * 2^-fraction`, 18 bits, as 0..65536; `table` is `SIGMOID_TABLE`."""
    argument = tl.minimum((tl.abs(x) << 12) >> fraction, 65535)
    entry = tl.load(table + (argument >> 7))
    falling = (entry & 0xFFFF) - (((entry >> 16) * (argument & 127) + 64) >> 7)
    return tl.where(x < 0, falling, 65536 - falling)


@triton.jit
def silu(x, fraction, table):
    """`x * sigmoid(x)` in the format of int32 `x`; int32."""
    return ((x.to(tl.int64) * sigmoid(x, fraction, table) + (1 << 15)) >> 16).to(tl.int32)


@triton.jit
def opened(f, keep, fraction, table):
    """How far the gate is open to the new: `keep * sigmoid(-f)`, 0..65536; int32."""
    return ((keep.to(tl.int64) * sigmoid(-f, fraction, table) + (1 << 15)) >> 16).to(tl.int32)


@triton.jit
def recur(h, update, openness):
    """`h + (update - h) * openness`: int32 of 24 bits, that is a state and the next."""
    return h + (((update - h).to(tl.int64) * openness + (1 << 15)) >> 16).to(tl.int32)


@triton.jit
def gate(x, y, fraction, table):
    """`silu(x) * y` of 18-bit int32, with 3 fraction bits less than the product; int32."""
    return ((silu(x, fraction, table).to(tl.int64) * y + 4) >> 3).to(tl.int32)


@triton.jit
def gained(vector, gain):
    """Vector times the gain of the first of two norms, `vector * gain >> 15`; int32."""
    return ((vector.to(tl.int64) * gain + (1 << 14)) >> 15).to(tl.int32)


@triton.jit
def squares(values):
    """Squares of int32 as their upper and their lower 32 bits; both int64."""
    square = values.to(tl.int64) * values
    return square >> 32, square & 0xFFFFFFFF


@triton.jit
def quantise(vector, gain, length, factor):
    """Round `127 * vector * gain / amax` to int8's range, half away from zero; int32.

    `length` is the bit length of `amax` and `factor` its reciprocal, both int64.
    """
    gain = gain.to(tl.int32)
    magnitude = _magnitude(vector) * _magnitude(gain)
    top = ((magnitude << (48 - length).to(tl.uint64)) >> 31).to(tl.uint32)
    q = ((top.to(tl.uint64) * factor.to(tl.uint32) + (1 << 25)) >> 26).to(tl.int32)
    return tl.where((vector ^ gain) < 0, -q, q)


@triton.jit
def _magnitude(value):
    return tl.abs(value).to(tl.uint32, bitcast=True).to(tl.uint64)
