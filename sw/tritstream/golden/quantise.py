"""Statistics of a vector, and its quantisation to int8.

No vector is divided by its RMS. A positive factor in front of a BitLinear vanishes when its input
is scaled to int8, so `q` needs only the vector times its gains and the largest of these; the norms
themselves go into the one scalar of the dequantiser (`golden.scalars`).
"""

import numpy as np

from tritstream.formats import FORMATS
from tritstream.golden.elementwise import checked, rounded_shift
from tritstream.golden.scalars import Statistics, reciprocal

__all__ = ["PRE_SHIFT", "quantise", "statistics", "sum_of_squares"]

PRE_SHIFT = FORMATS.gain_bits - 1
"""Fraction bits of the gain of the first of two stacked norms."""


def sum_of_squares(values: np.ndarray) -> list[int]:
    """Exact sums over the last axis of `[tokens, n]` 32-bit numbers; they need up to 78 bits."""
    high, low = values >> 16, values & 0xFFFF
    sums = [np.einsum("tn,tn->t", *pair).tolist()
            for pair in ((high, high), (high, low), (low, low))]
    return [(hh << 32) + (hl << 17) + ll for hh, hl, ll in zip(*sums, strict=True)]


def statistics(vector, first, pre, gains) -> list[Statistics]:
    """Statistics of each token's vector.

    Parameters
    ----------
    vector : ndarray [tokens, n]
        x or z, 32 bits.
    first : ndarray [tokens, n] or None
        What the first of two stacked norms divides by: x itself, or g. None if there is one norm.
    pre : ndarray [n] or None
        Gain of the first norm; the second norm sees `vector * pre >> 15`. None: the vector itself.
    gains : list of ndarray [n]
        All gains in front of each quantiser, 16 bits.
    """
    inner = vector if pre is None else rounded_shift(vector * pre, PRE_SHIFT)
    s2 = sum_of_squares(checked(inner, FORMATS.vector_bits, "vector times gain"))
    s1 = sum_of_squares(first) if first is not None else [0] * len(s2)
    amax = [np.abs(vector * gain).max(axis=-1).tolist() for gain in gains]
    return [Statistics(*sums, peaks) for *sums, peaks in zip(s1, s2, zip(*amax, strict=True),
                                                             strict=True)]


def quantise(vector: np.ndarray, gain: np.ndarray, amax: list[int]) -> np.ndarray:
    """Round `127 * vector * gain / amax` to integers, half away from zero; `[tokens, n]` int64.

    Truncates |vector * gain| to 17 bits counted from the top bit of `amax`.
    """
    product = vector * gain
    bits = FORMATS.product_bits
    up = np.array([bits - peak.bit_length() for peak in amax])[:, None]
    factor = np.array([reciprocal(peak) for peak in amax])[:, None]
    magnitude = (np.abs(product) << up) >> (bits - FORMATS.amax_bits)
    q = rounded_shift(magnitude * factor, FORMATS.reciprocal_bits)
    return checked(np.where(product < 0, -q, q), FORMATS.act_bits, "activation")
