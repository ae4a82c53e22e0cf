"""Scales of the dequantiser, once per stage: `tritstream.golden.scalars` as a program."""

from tritstream.formats import FORMATS
from tritstream_hw.micro.language import (
    append32,
    high,
    multiply,
    next16,
    next32,
    next_signed16,
    read16,
    read_signed16,
    right_pair,
)
from tritstream_hw.micro.program import numbers, vectors
from tritstream_hw.micro.program.layout import SCALES, TOPS

MANTISSA_BITS = FORMATS.mantissa_bits
MAX_SHIFT = FORMATS.max_shift
UP = FORMATS.dequant_up
ROOT_BITS = 33              # or one more, of what the root is taken of
FIRST_SCALE = 16            # bytes of a header before each
RATIO = 28
FLOOR = 32

root_at = 0         # of the norm, and half of the places that it was shifted by
root_places = 0


def make(header, projections, quantised):
    """Make the scale of each projection from a header, and from what is known of its input."""
    norm(header)
    at = header + FIRST_SCALE
    to = SCALES
    top = TOPS
    while projections:
        if quantised == 1:
            top = TOPS
        make_one(to, next32(top), next32(top), next16(at), next_signed16(at))
        to += 8
        projections -= 1


def norm(header):
    """Take the root of the squared norm of the input."""
    global root_at, root_places
    numbers.n0 = vectors.first0
    numbers.n1 = vectors.first1
    numbers.n2 = vectors.first2
    places = numbers.wide_bits()
    product = 0
    if places:
        places -= MANTISSA_BITS
        if places >= 0:
            numbers.shift_wide(places)
        else:
            numbers.left_wide(-places)
        product = multiply(numbers.n0, read16(header + RATIO))
    numbers.n0 = vectors.second0
    numbers.n1 = vectors.second1
    numbers.n2 = vectors.second2
    numbers.add_shifted(read16(header + FLOOR), read_signed16(header + FLOOR + 2))
    numbers.add_shifted(product, places + read_signed16(header + RATIO + 2))
    even = (numbers.wide_bits() - ROOT_BITS) & -2
    if even >= 0:
        numbers.shift_wide(even)
    else:
        numbers.left_wide(-even)
    root_at = numbers.root()
    root_places = even >> 1


def make_one(to, top, places, mantissa, exponent):
    """Make one scale of a normalised maximum and a header's scale."""
    shift = MAX_SHIFT
    if top == 0 or mantissa == 0:
        mantissa = 0
    else:
        lower = multiply(numbers.quotient(top, root_at, 17), mantissa)
        upper = high()
        extra = numbers.pair_bits(upper, lower) - MANTISSA_BITS
        mantissa = right_pair(upper, lower, extra)
        shift = UP - (extra + exponent + places - 17 - root_places)
        if shift > MAX_SHIFT:
            shift = MAX_SHIFT
    append32(to, mantissa)
    append32(to, shift)
