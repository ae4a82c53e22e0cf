"""Element-wise datapath: dequantise, sigmoid, MLGRU and gated channel mixer.

All functions take and return int64 arrays of any shape; every result is checked against the width
that the hardware has for it. Shifts to the right round half up: `(x + half) >> shift`.
"""

import numpy as np

from tritstream.formats import FORMATS

__all__ = [
    "GATE_SHIFT",
    "SIGMOID_ARGUMENT",
    "SIGMOID_BASE",
    "SIGMOID_DELTA",
    "SIGMOID_FRACTION",
    "SIGMOID_WITHIN",
    "checked",
    "dequantise",
    "glu",
    "mlgru",
    "rounded_shift",
    "sigmoid",
    "silu",
]

GATE_SHIFT = 3
"""Fraction bits that a gated product has less than its factors together."""

SIGMOID_FRACTION = 12
"""Fraction bits of an argument of the table."""

SIGMOID_ARGUMENT = SIGMOID_FRACTION + 4
"""Bits of an argument: all are below 16, where the sigmoid of minus it is 0."""

SIGMOID_WITHIN = 7
"""Bits of an argument within a segment: 1/32 is narrow enough to be good to 2**-16 by a line."""

_ONE = 1 << FORMATS.sigmoid_bits
_SEGMENTS = 1 << (SIGMOID_ARGUMENT - SIGMOID_WITHIN)

_GRID = np.arange(_SEGMENTS + 1) / (1 << (SIGMOID_FRACTION - SIGMOID_WITHIN))
_FALLING = np.rint(_ONE / (1 + np.exp(_GRID))).astype(np.int64)

SIGMOID_BASE = _FALLING[:-1]
"""`sigmoid(-n / 32)`, 16 fraction bits, the start of each of 512 segments."""

SIGMOID_DELTA = _FALLING[:-1] - _FALLING[1:]
"""How much each segment falls, at most 512."""


def checked(values: np.ndarray, bits: int, what: str) -> np.ndarray:
    """Return `values` if all fit in `bits` bits, signed.

    Raises
    ------
    OverflowError
        Which cannot happen with an image made by `pack`: it derives every range from the weights.
    """
    limit = 1 << (bits - 1)
    if values.size and not (-limit <= values.min() and values.max() < limit):
        raise OverflowError(f"{what} has {values.min()}..{values.max()}, which needs more than "
                            f"{bits} bits")
    return values


def rounded_shift(values: np.ndarray, shift) -> np.ndarray:
    """Shift right, rounding half up."""
    return values + ((1 << np.asarray(shift, np.int64)) >> 1) >> shift


def dequantise(acc: np.ndarray, mantissa, shift, bits: int) -> np.ndarray:
    """Scale row sums: `(acc * mantissa << 10) >> shift`, rounded half up, into `bits` bits."""
    product = acc * mantissa << FORMATS.dequant_up
    return checked(rounded_shift(product, shift), bits, "dequantised output")


def _falling(x: np.ndarray, fraction: int) -> np.ndarray:
    """`sigmoid(-|x|)`; beyond 16 it is taken at 16, where it is 0 in 16 bits."""
    argument = np.minimum((np.abs(x) << SIGMOID_FRACTION) >> fraction, (1 << SIGMOID_ARGUMENT) - 1)
    segment, within = argument >> SIGMOID_WITHIN, argument & ((1 << SIGMOID_WITHIN) - 1)
    return SIGMOID_BASE[segment] - rounded_shift(SIGMOID_DELTA[segment] * within, SIGMOID_WITHIN)


def sigmoid(x: np.ndarray, fraction: int) -> np.ndarray:
    """Sigmoid of `x * 2**-fraction`, as 0..65536."""
    falling = _falling(x, fraction)
    return np.where(x < 0, falling, _ONE - falling)


def silu(x: np.ndarray, fraction: int) -> np.ndarray:
    """`x * sigmoid(x)` in the format of `x`."""
    return rounded_shift(x * sigmoid(x, fraction), FORMATS.sigmoid_bits)


def mlgru(i, f, g, keep, h, fractions) -> tuple[np.ndarray, np.ndarray]:
    """One step of the recurrence and its output gate.

    `h' = h + w (silu(i) - h)` with `w = (1 - lb) (1 - sigmoid(f))`, which is
    `f h + (1 - f) silu(i)` with one multiplication less, and never leaves the hull of its operands
    (arXiv 2406.02528, section 3.3.1; the lower bound is HGRN's, arXiv 2311.04823).

    Parameters
    ----------
    i, f, g : ndarray
        Dequantised projections, 18 bits.
    keep : ndarray
        `1 - lb`, unsigned fraction of 16 bits.
    h : ndarray
        State of this layer, 24 bits, 6 more fraction bits than `i`.
    fractions : tuple of int
        Fraction bits of `i` and of `f`.

    Returns
    -------
    h, t : ndarray
        New state, and `g * silu(h)` in 32 bits with 3 fraction bits less than the product.
    """
    extra = FORMATS.state_extra
    opened = rounded_shift(keep * sigmoid(-f, fractions[1]), FORMATS.sigmoid_bits)
    difference = (silu(i, fractions[0]) << extra) - h
    h = checked(h + rounded_shift(difference * opened, FORMATS.sigmoid_bits),
                FORMATS.state_bits, "recurrent state")
    element = checked(rounded_shift(h, extra), FORMATS.element_bits, "recurrent state")
    return h, _gate(element, g, fractions[0])


def glu(a, b, fraction: int) -> np.ndarray:
    """Gated channel mixer: `silu(a) * b` in 32 bits, 3 fraction bits less than the product."""
    return _gate(a, b, fraction)


def _gate(x: np.ndarray, y: np.ndarray, fraction: int) -> np.ndarray:
    return checked(rounded_shift(silu(x, fraction) * y, GATE_SHIFT), FORMATS.vector_bits,
                   "gated vector")
