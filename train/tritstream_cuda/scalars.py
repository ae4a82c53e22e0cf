"""Scalar arithmetic of `tritstream.golden.scalars`, as functions for Triton kernels.

Everything works on int64 tensors of any shape. The squared norm, of up to 80 bits, is a pair:
`high` times 2^40 plus `low` of 40 bits. Quotients and roots are estimated in float32, which has no
branches that would keep the compiler from hiding their latency, and corrected by the remainder: it
is small, so that its low 32 bits are all of it.
"""

import triton
import triton.language as tl

from tritstream_cuda.ternary import INTERPRETED

__all__ = ["bit_length", "dequantiser", "normalise", "quotient", "reciprocal", "root", "shifted",
           "squared_norm", "wide"]

# To the right of a tensor only: Triton 3.8's interpreter loses the tensor of `LOW_BITS - tensor`.
LOW_BITS = tl.constexpr(40)
LOW_MASK = tl.constexpr((1 << 40) - 1)


@triton.jit
def bit_length(value):
    """Bits of `0 <= value < 2^53`; int64."""
    if INTERPRETED:
        exponent = (value.to(tl.float64).to(tl.int64, bitcast=True) >> 52) - 1022
        return tl.where(value > 0, exponent, 0)
    zeros = tl.inline_asm_elementwise("clz.b64 $0, $1;", "=r,l", [value], dtype=tl.int32,
                                      is_pure=True, pack=1)
    return 64 - zeros.to(tl.int64)


@triton.jit
def shifted(value, left):
    """Shift left, or right where `left` is negative; by at most 63."""
    return tl.where(left >= 0, value << tl.maximum(left, 0),
                    value >> tl.minimum(tl.maximum(-left, 0), 63))


@triton.jit
def normalise(value, bits: tl.constexpr):
    """Split `value` into a mantissa of `bits` bits, truncated, and its exponent; 0 gives 0."""
    exponent = bit_length(value) - bits
    return shifted(value, -exponent), exponent


@triton.jit
def quotient(a, b):
    """Return `a // b` for `0 <= a < 2^35`, `2^16 <= b < 2^17`; int64."""
    divisor = b.to(tl.int32)
    # The estimate, below 2^19, is off by less than one, and so by one at most when truncated.
    estimate = ((a >> 5).to(tl.int32).to(tl.float32) * (32.0 / divisor.to(tl.float32)))
    q = estimate.to(tl.int32)
    rest = a.to(tl.int32) - q * divisor
    q = tl.where(rest < 0, q - 1, tl.where(rest >= divisor, q + 1, q))
    return q.to(tl.int64)


@triton.jit
def root(value):
    """Integer square root of `2^32 <= value < 2^34`; int64."""
    r = (4.0 * tl.sqrt((value >> 4).to(tl.int32).to(tl.float32))).to(tl.int32)
    rest = value.to(tl.int32) - r * r
    r = tl.where(rest < 0, r - 1, tl.where(rest > 2 * r, r + 1, r))
    return r.to(tl.int64)


@triton.jit
def reciprocal(amax):
    """Return `127 * 2^26 // amax`, `amax` normalised to 17 bits; 0 for 0."""
    mantissa, _ = normalise(amax, 17)
    numerator = tl.full(amax.shape, 127 << 26, tl.int64)
    return tl.where(amax > 0, quotient(numerator, tl.maximum(mantissa, 1 << 16)), 0)


@triton.jit
def _carried(high, low):
    return high + (low >> LOW_BITS), low & LOW_MASK


@triton.jit
def wide(upper, lower):
    """Return `(upper << 32) + lower` as a pair: a sum of squares by the sums of their halves."""
    return _carried((upper >> 8) + (lower >> LOW_BITS), ((upper & 255) << 32) + (lower & LOW_MASK))


@triton.jit
def _wide_bits(high, low):
    return tl.where(high > 0, bit_length(high) + LOW_BITS, bit_length(low))


@triton.jit
def _wide_shifted(high, low, right):
    """Shift a pair right, or left where `right` is negative; the result fits 63 bits."""
    both = (high << tl.minimum(tl.maximum(-right + LOW_BITS, 0), 63)) + (
        low >> tl.minimum(tl.maximum(right, 0), 63))
    above = high >> tl.minimum(tl.maximum(right - LOW_BITS, 0), 63)
    below = low << tl.minimum(tl.maximum(-right, 0), 63)
    return tl.where(right >= LOW_BITS, above, tl.where(right >= 0, both, below))


@triton.jit
def squared_norm(s1_high, s1_low, s2_high, s2_low, ratio, ratio_exponent, floor_high, floor_low):
    """Return `S2 + ratio * S1 + floor` as a pair; `S1` is truncated to 16 bits first."""
    exponent = _wide_bits(s1_high, s1_low) - 16
    product = _wide_shifted(s1_high, s1_low, exponent) * ratio
    left = exponent + ratio_exponent
    # Up to 2^32, shifted left by up to 47: in two parts.
    small = tl.minimum(tl.maximum(left, 0), LOW_BITS)
    high = tl.where(left >= LOW_BITS, product << tl.maximum(left - LOW_BITS, 0),
                    product >> (-small + LOW_BITS))
    low = tl.where(left >= LOW_BITS, 0, (product << small) & LOW_MASK)
    right = tl.minimum(tl.maximum(-left, 0), 63)
    high = tl.where(left >= 0, high, 0)
    low = tl.where(left >= 0, low, product >> right)
    return _carried(s2_high + high + floor_high, s2_low + low + floor_low)


@triton.jit
def dequantiser(amax, norm_high, norm_low, scale, scale_exponent):
    """Mantissa and right shift of `scale * amax / sqrt(norm)`; `norm` is a pair."""
    top, top_exponent = normalise(amax, 17)
    even = (_wide_bits(norm_high, norm_low) - 33) & -2          # leaves 33 or 34 bits
    length = root(_wide_shifted(norm_high, norm_low, even))
    mantissa, exponent = normalise(quotient(top << 17, length) * scale, 16)
    exponent += scale_exponent + top_exponent - 17 - (even >> 1)
    used = (amax > 0) & (scale > 0)
    return tl.where(used, mantissa, 0), tl.where(used, tl.minimum(10 - exponent, 62), 62)
