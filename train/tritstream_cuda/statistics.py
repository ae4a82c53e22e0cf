"""Statistics of a vector and what follows from them, as functions for Triton kernels.

Statistics are twelve int64 numbers in a row of `ROW`: the sums S1 and S2 in three parts each (see
`scalars.wide`), two unused, and from `PEAKS` on the largest |element * gain| of each quantiser.
Parameters of a stage are a row of `ROW` as well, see `weights`.
"""

import triton
import triton.language as tl

from tritstream_cuda.elements import gained, squares
from tritstream_cuda.scalars import dequantiser, squared_norm, wide
from tritstream_cuda.ternary import stack8, stack_place

__all__ = ["PEAKS", "ROW", "constants", "loaded_parts", "parts_of", "peaks", "scales", "sums"]

ROW = tl.constexpr(16)
PEAKS = tl.constexpr(8)


@triton.jit
def sums(vector, first, pre, PRE: tl.constexpr, FIRST: tl.constexpr):
    """Sums of squares of int32 tensors, all their axes; int64 [8] in the order of `stack_place`.

    Elements to leave out are zero. `first` is what the first of two norms divides by, if there is
    one, and `pre` its gain.
    """
    if PRE:
        inner = gained(vector, pre)
    else:
        inner = vector.to(tl.int64)
    b0, b1, b2 = squares(inner)
    none = tl.zeros_like(b0)
    if FIRST:
        a0, a1, a2 = squares(first.to(tl.int64))
    else:
        a0, a1, a2 = none, none, none
    parts = tl.reshape(stack8(a0, a1, a2, b0, b1, b2, none, none), [vector.numel, 8])
    return tl.sum(parts, axis=0)


@triton.jit
def peaks(vector, gain):
    """Largest |vector * gain|, int64."""
    magnitude = tl.abs(vector.to(tl.int64) * gain)
    return tl.max(tl.reshape(magnitude, [magnitude.numel]), axis=0)


@triton.jit
def constants(parameters):
    """Load what `scales` needs of a stage's row of parameters."""
    four = tl.arange(0, 4)
    return (tl.load(parameters + four), tl.load(parameters + 4 + four), tl.load(parameters + 8),
            tl.load(parameters + 9), tl.load(parameters + 10), tl.load(parameters + 11))


@triton.jit
def parts_of(total):
    """Take the six parts of two sums of squares out of int64 [8] from `sums`."""
    place = stack_place()
    return (_at(total, place, 0), _at(total, place, 1), _at(total, place, 2),
            _at(total, place, 3), _at(total, place, 4), _at(total, place, 5))


@triton.jit
def loaded_parts(statistics):
    """Load the six parts of two sums of squares from a row of statistics."""
    return (tl.load(statistics), tl.load(statistics + 1), tl.load(statistics + 2),
            tl.load(statistics + 3), tl.load(statistics + 4), tl.load(statistics + 5))


@triton.jit
def scales(parts, amax, numbers):
    """Dequantiser mantissas and shifts, int64 [4], one for each projection.

    `parts` are of the sums S1 and S2, `amax` is int64 [4], `numbers` are from `constants`.
    """
    s1_high, s1_low = wide(parts[0], parts[1], parts[2])
    s2_high, s2_low = wide(parts[3], parts[4], parts[5])
    high, low = squared_norm(s1_high, s1_low, s2_high, s2_low, numbers[2], numbers[3], numbers[4],
                             numbers[5])
    norm_high, norm_low = tl.zeros_like(amax) + high, tl.zeros_like(amax) + low
    return dequantiser(amax, norm_high, norm_low, numbers[0], numbers[1])


@triton.jit
def _at(values, place, index: tl.constexpr):
    return tl.sum(tl.where(place == index, values, 0), axis=0)
