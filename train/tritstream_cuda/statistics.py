"""Statistics of a vector and what follows from them, as functions for Triton kernels.

Statistics are int64 numbers in a row of `ROW`: the sums S1 and S2 in two parts each, in the order
of `sums` (see `scalars.wide`), and from `PEAKS` on the largest |element * gain| of each quantiser.
Parameters of a stage are a row of `ROW` as well, see `weights`.
"""

import triton
import triton.language as tl

from tritstream_cuda.elements import gained, squares
from tritstream_cuda.scalars import dequantiser, squared_norm, wide

__all__ = ["PEAKS", "ROW", "constants", "loaded_parts", "packed", "parts_of", "peaks", "scales",
           "sums", "unpacked"]

ROW = tl.constexpr(16)
PEAKS = tl.constexpr(8)


@triton.jit
def sums(vector, first, pre, PRE: tl.constexpr, FIRST: tl.constexpr):
    """Sums of squares of int32 [rows, n], by upper and lower halves.

    Elements to leave out are zero. `first` is what the first of two norms divides by, if there is
    one, and `pre` its gain.

    Returns
    -------
    tensor
        int64 [rows, 4]: of S1 and of S2 the upper half, then of both the lower.
    """
    inner = gained(vector, pre) if PRE else vector
    upper, lower = squares(inner)
    if FIRST:
        first_upper, first_lower = squares(first)
    else:
        first_upper, first_lower = tl.zeros_like(upper), tl.zeros_like(upper)
    # A join appends its axis, so the first pair ends up outermost.
    parts = tl.join(tl.join(first_upper, first_lower), tl.join(upper, lower))
    return tl.sum(tl.reshape(parts, [vector.shape[0], vector.shape[1], 4]), axis=1)


@triton.jit
def peaks(vector, gain):
    """Largest |vector * gain| of int32 [rows, n], int64 [rows]."""
    return tl.max(tl.abs(vector.to(tl.int64) * gain), axis=1)


@triton.jit
def constants(parameters, projection):
    """Load what `scales` needs of a stage's row of parameters, for these projections."""
    return (tl.load(parameters + projection), tl.load(parameters + 4 + projection),
            tl.load(parameters + 8),
            tl.load(parameters + 9), tl.load(parameters + 10), tl.load(parameters + 11))


@triton.jit
def parts_of(total):
    """Take the four parts of two sums of squares out of int64 [1, 4] from `sums`."""
    return _at(total, 0), _at(total, 1), _at(total, 2), _at(total, 3)


@triton.jit
def loaded_parts(statistics):
    """Load the four parts of two sums of squares from rows of statistics."""
    return (tl.load(statistics), tl.load(statistics + 1), tl.load(statistics + 2),
            tl.load(statistics + 3))


@triton.jit
def scales(parts, amax, numbers):
    """Dequantiser mantissas and shifts, int64 [..., 4], one for each projection.

    `parts` are of the sums S1 and S2, `amax` is int64 [..., 4], `numbers` are from `constants`.
    """
    s1_high, s1_low = wide(parts[0], parts[2])
    s2_high, s2_low = wide(parts[1], parts[3])
    high, low = squared_norm(s1_high, s1_low, s2_high, s2_low, numbers[2], numbers[3], numbers[4],
                             numbers[5])
    norm_high, norm_low = tl.zeros_like(amax) + high, tl.zeros_like(amax) + low
    return dequantiser(amax, norm_high, norm_low, numbers[0], numbers[1])


@triton.jit
def packed(mantissa, shift):
    """Put a mantissa and a shift from `scales` into one int64, to be moved together."""
    return (mantissa << 8) | shift


@triton.jit
def unpacked(scale):
    """Take apart what `packed` has put together; both int64."""
    return scale >> 8, scale & 255


@triton.jit
def _at(values, index: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, 4)[None, :] == index, values, 0))
