"""Bounds of a projection's outputs, from its weights alone: `docs/numerics.md` has the argument.

`pack` puts binary points where these bounds fit, and an image is opened only if they do: that is
why nothing can overflow in the golden model or in hardware, whatever the text is.
"""

import math

import numpy as np

from tritstream.image.trits import DECODE
from tritstream.support.blas import product

__all__ = ["CHECKED_MARGIN", "PACKED_MARGIN", "ROUNDING", "longest_row", "output_bound"]

ROUNDING = math.sqrt(1.25)
"""What the rounding of `vector * pre` adds at most: up to half a unit per element, where the
squared norm has at least one unit squared per element: `(a + 1/2) / sqrt(a**2 + 1)` at most."""

PACKED_MARGIN = 1.01
"""For truncations in the scalar unit (2**-14 each) and of q (half a step), with room to spare."""

CHECKED_MARGIN = 1.005
"""The same with less to spare: scales are rounded to 16 bits when they are packed."""

_CHUNK = 1 << 20            # bytes of trits looked up at a time: 4 MB of float32 each

_USED = np.ascontiguousarray((DECODE != 0).astype(np.float32).T)     # [5, 256]


def longest_row(codes: np.ndarray, gain: np.ndarray) -> tuple[float, float]:
    """Largest Euclidean length of a row's gains, and most trits of a row that are not zero.

    Parameters
    ----------
    codes : ndarray
        Packed trits, uint8 [blocks, K].
    gain : ndarray
        What each column is multiplied with before, [K].
    """
    weights = np.stack([gain.astype(np.float64) ** 2, np.ones(len(gain))], axis=1)
    weights = weights.astype(np.float32)
    step = max(1, _CHUNK // codes.shape[1])
    most = np.zeros(2)
    for start in range(0, len(codes), step):
        chunk = codes[start:start + step]
        for used in _USED:
            most = np.maximum(most, product(used[chunk], weights).max(axis=0))
    return math.sqrt(most[0]), float(most[1])


def output_bound(*, scale: float, length: float, filled: float, peak: float) -> float:
    """Bound of `scale` times a row sum, for a normalised input, without any margin.

    Parameters
    ----------
    scale : float
        What 127 times a row's sum of trits and normalised inputs is multiplied with.
    length, filled : float
        From `longest_row`, or more.
    peak : float
        Largest magnitude of the gain: each q is off by half a step at most, a step is 1/127 of the
        largest input, and that is at most this.
    """
    return scale * (127 * length + 0.5 * filled * peak)
