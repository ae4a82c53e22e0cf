"""What is done with the elements of a row: `tritstream.golden.elementwise` as a program."""

from tritstream.formats import FORMATS
from tritstream.golden.elementwise import (
    GATE_SHIFT,
    SIGMOID_ARGUMENT,
    SIGMOID_BASE,
    SIGMOID_FRACTION,
    SIGMOID_WITHIN,
)
from tritstream_hw.micro.language import (
    Table,
    multiply,
    next16,
    rounded,
    rounded_product,
)

SIGMOID_BITS = FORMATS.sigmoid_bits
ONE = 1 << SIGMOID_BITS
EXTRA = FORMATS.state_extra
UP = FORMATS.dequant_up
LAST = (1 << SIGMOID_ARGUMENT) - 1
WITHIN = (1 << SIGMOID_WITHIN) - 1

FALLING = Table([*SIGMOID_BASE, 0])
"""`sigmoid(-n / 32)`, and where the last segment ends."""


def dequantise(total, mantissa, shift):
    """Return `(total * mantissa << 10) >> shift`, rounded."""
    if shift >= UP:
        return rounded_product(total, mantissa, shift - UP)
    return multiply(total, mantissa) << (UP - shift)


def sigmoid(x, fraction):
    """Return the sigmoid of `x * 2**-fraction`, 0 to 65536."""
    magnitude = x
    if x < 0:
        magnitude = -x
    argument = (magnitude << SIGMOID_FRACTION) >> fraction
    if argument > LAST:
        argument = LAST
    place = FALLING + (argument >> SIGMOID_WITHIN << 1)
    start = next16(place)
    falling = start - rounded((start - next16(place)) * (argument & WITHIN), SIGMOID_WITHIN)
    if x < 0:
        return falling
    return ONE - falling


def silu(x, fraction):
    """Return `x * sigmoid(x)`."""
    return rounded_product(x, sigmoid(x, fraction), SIGMOID_BITS)


def gate(x, y, fraction):
    """Return `silu(x) * y`."""
    return rounded_product(silu(x, fraction), y, GATE_SHIFT)


def recurrence(i, f, keep, h, fraction, f_fraction):
    """Return the new state."""
    opened = rounded_product(keep, sigmoid(-f, f_fraction), SIGMOID_BITS)
    difference = (silu(i, fraction) << EXTRA) - h
    return h + rounded_product(difference, opened, SIGMOID_BITS)
