"""What is gathered of a vector, and its quantisation: `tritstream.golden.quantise` as a program."""

from tritstream.formats import FORMATS
from tritstream_hw.micro.isa import Region
from tritstream_hw.micro.language import (
    add_carry,
    append8,
    append32,
    below,
    crc,
    high,
    left_pair,
    multiply,
    next32,
    next_signed16,
    read32,
    read_signed16,
    right_pair,
    rounded_product,
    unsigned_right,
    write32,
)
from tritstream_hw.micro.program import numbers
from tritstream_hw.micro.program.layout import MAX_HIDDEN, PEAKS, TOPS

ACTIVATIONS = Region.ACTIVATIONS.base
AMAX_BITS = FORMATS.amax_bits
RECIPROCAL_BITS = FORMATS.reciprocal_bits
PRE_SHIFT = FORMATS.gain_bits - 1

digest = 0          # CRC-32 of all vectors
quantisers = 0      # gains of the section at hand, one for each
gains_at = 0        # the gains of the next row in the first bank, and from there to the next bank
gains_step = 0
pre_at = 0          # the same of the first of two norms; 0: there is none

# Sums of squares.
first0 = 0
first1 = 0
first2 = 0
second0 = 0
second1 = 0
second2 = 0


def clear():
    """Begin a vector."""
    global first0, first1, first2, second0, second1, second2
    first0 = 0
    first1 = 0
    first2 = 0
    second0 = 0
    second1 = 0
    second2 = 0
    place = PEAKS
    while place != PEAKS + 24:
        append32(place, 0)


def chain(number):
    """Continue the digest with a number."""
    global digest
    value = crc(digest, number)
    value = crc(value, unsigned_right(number, 8))
    value = crc(value, unsigned_right(number, 16))
    digest = crc(value, unsigned_right(number, 24))


def count_first(number):
    """Add the square of what the first of two norms divides by."""
    global first0, first1, first2
    lower = multiply(number, number)
    upper = high()
    first0 = first0 + lower
    first1 = add_carry(first1, upper)
    first2 = add_carry(first2, 0)


def count(number):
    """Count the next element of the vector."""
    global second0, second1, second2, pre_at, gains_at
    chain(number)
    inner = number
    if pre_at:
        inner = rounded_product(number, next_signed16(pre_at), PRE_SHIFT)
    lower = multiply(inner, inner)
    upper = high()
    second0 = second0 + lower
    second1 = add_carry(second1, upper)
    second2 = add_carry(second2, 0)
    index = 0
    at = gains_at
    gains_at += 2
    while index != quantisers:
        magnitude(number, read_signed16(at))
        place = PEAKS + (index << 3)
        most = read32(place + 4)
        if below(most, numbers.n1) or (most == numbers.n1 and below(read32(place), numbers.n0)):
            append32(place, numbers.n0)
            write32(place, numbers.n1)
        at += gains_step
        index += 1


def magnitude(number, gain):
    """Make n the magnitude of a product; return whether that is negative."""
    lower = multiply(number, gain)
    upper = high()
    negative = upper < 0
    if negative:
        upper = ~upper
        lower = ~lower + 1
        upper = add_carry(upper, 0)
    numbers.n0 = lower
    numbers.n1 = upper
    return negative


def quantise(vector, rows, first_gains):
    """Quantise a vector for each quantiser of the next stage."""
    index = 0
    while index != quantisers:
        place = PEAKS + (index << 3)
        quantise_one(vector, rows, first_gains, next32(place), next32(place), index)
        first_gains += gains_step
        index += 1


def quantise_one(vector, rows, gains, lower, upper, index):
    """Quantise with one bank of gains, by the largest product; keep that for the scales."""
    places = numbers.pair_bits(upper, lower) - AMAX_BITS
    top = normalised(upper, lower, places)
    place = TOPS + (index << 3)
    append32(place, top)
    append32(place, places)
    factor = 0
    if top:
        factor = numbers.quotient(127, top, RECIPROCAL_BITS)
    to = ACTIVATIONS + index * MAX_HIDDEN
    while rows:
        negative = magnitude(next32(vector), next_signed16(gains))
        q = rounded_product(normalised(numbers.n1, numbers.n0, places), factor, RECIPROCAL_BITS)
        if negative:
            q = -q
        append8(to, q)
        rows -= 1


def normalised(upper, lower, places):
    """Shift a pair right, or left if `places` is negative."""
    if places >= 0:
        return right_pair(upper, lower, places)
    return left_pair(upper, lower, -places)
