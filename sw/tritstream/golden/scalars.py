"""Scalar arithmetic, once per vector: reciprocal for the quantiser, scales for the dequantiser.

Everything is floor arithmetic on Python integers, as digit-recurrence hardware does it: a value is
a mantissa whose top bit is set and a power of two; quotients and roots are truncated.
"""

import dataclasses
import math

from tritstream.formats import FORMATS, NORM_BITS
from tritstream.image.tape import Scalar

__all__ = ["Statistics", "dequantiser", "normalise", "reciprocal", "squared_norm"]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is gathered of a vector while it is written.

    `s1` and `s2` are sums of squares, `amax` the largest |element * gain| for each quantiser.
    """

    s1: int
    s2: int
    amax: tuple[int, ...]


def normalise(value: int, bits: int) -> tuple[int, int]:
    """Split `value > 0` into a mantissa of exactly `bits` bits, truncated, and its exponent."""
    exponent = value.bit_length() - bits
    return (value >> exponent if exponent >= 0 else value << -exponent), exponent


def reciprocal(amax: int) -> int:
    """Return `127 * 2**26 / amax`, `amax` normalised to 17 bits: a number of 17 bits; 0 for 0."""
    if amax == 0:
        return 0
    mantissa, _ = normalise(amax, FORMATS.amax_bits)
    return (127 << FORMATS.reciprocal_bits) // mantissa


def squared_norm(stats: Statistics, ratio: Scalar, floor: Scalar) -> int:
    """Return `S2 + ratio * S1 + floor`, the quantity under the root of the folded norms."""
    total = stats.s2 + (floor.mantissa << floor.exponent)
    if stats.s1:
        mantissa, exponent = normalise(stats.s1, FORMATS.mantissa_bits)
        product, shift = mantissa * ratio.mantissa, exponent + ratio.exponent
        total += product << shift if shift >= 0 else product >> -shift
    if not 0 < total < 1 << NORM_BITS:
        raise OverflowError(f"squared norm {total} does not fit {NORM_BITS} bits")
    return total


def dequantiser(amax: int, norm: int, scale: Scalar) -> tuple[int, int]:
    """Return `(mantissa, shift)` of `scale * amax / sqrt(norm)`.

    The value is `mantissa * 2**(10 - shift)`, so that `(acc * mantissa << 10) >> shift` is an
    output. All three divisions are truncated: relative error below 2**-14.
    """
    if amax == 0 or scale.mantissa == 0:
        return 0, FORMATS.max_shift
    top, top_exponent = normalise(amax, FORMATS.amax_bits)
    even = (norm.bit_length() - 33) & ~1                    # leaves 33 or 34 bits
    root = math.isqrt(norm >> even if even >= 0 else norm << -even)
    ratio = (top << 17) // root
    mantissa, exponent = normalise(ratio * scale.mantissa, FORMATS.mantissa_bits)
    exponent += scale.exponent + top_exponent - 17 - even // 2
    shift = FORMATS.dequant_up - exponent
    if shift < 0:
        raise OverflowError(f"dequantiser needs a left shift by {-shift}")
    return mantissa, min(shift, FORMATS.max_shift)
