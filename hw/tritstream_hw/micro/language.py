"""What a program of the micro machine can say besides Python: one name for each ability.

These functions are never called: `tritstream_hw.micro.compiler` puts instructions in their place.
Numbers have 32 bits; comparisons, `>>` and products are signed.
"""

__all__ = [
    "Table",
    "add_carry",
    "append8",
    "append16",
    "append32",
    "below",
    "crc",
    "dot",
    "high",
    "left_pair",
    "multiply",
    "next8",
    "next16",
    "next32",
    "next_signed16",
    "read8",
    "read16",
    "read32",
    "read_signed16",
    "restart",
    "right_pair",
    "rounded",
    "rounded_product",
    "unsigned_right",
    "write8",
    "write16",
    "write32",
]


class Table:
    """Halves behind the program; where one is named, its address is meant."""

    def __init__(self, halves):
        self.halves = [int(half) for half in halves]


def read8(address):
    """Byte at an address, unsigned."""


def read16(address):
    """Half at an even address, unsigned."""


def read_signed16(address):
    """Half at an even address, signed."""


def read32(address):
    """Word at an address that is a multiple of four."""


def next8(pointer):
    """Byte at a variable, which moves behind it."""


def next16(pointer):
    """Half at a variable, which moves behind it."""


def next_signed16(pointer):
    """Half at a variable, which moves behind it; signed."""


def next32(pointer):
    """Word at a variable, which moves behind it."""


def write8(address, value):
    """Write a byte."""


def write16(address, value):
    """Write a half."""


def write32(address, value):
    """Write a word."""


def append8(pointer, value):
    """Write a byte at a variable, which moves behind it."""


def append16(pointer, value):
    """Write a half at a variable, which moves behind it."""


def append32(pointer, value):
    """Write a word at a variable, which moves behind it."""


def add_carry(a, b):
    """`a + b`, and one more if the sum or shift before had a carry; nothing but plain values."""


def below(a, b):
    """Whether `a < b`, both unsigned; as a condition only."""


def crc(value, byte):
    """`zlib.crc32` of one more byte."""


def multiply(a, b):
    """Lower half of the product; the upper one is `high()`."""


def high():
    """Upper half of the pair that the latest product or shift of a pair has left."""


def right_pair(upper, lower, places):
    """Shift a signed pair right, by less than 64; lower half, see `high`."""


def left_pair(upper, lower, places):
    """Shift a pair left, by less than 64; lower half, see `high`."""


def unsigned_right(a, places):
    """Shift right, zeros coming in."""


def rounded(a, places):
    """Shift right, rounding half up."""


def rounded_product(a, b, places):
    """Shift a product of 64 bits right, by less than 64, rounding half up."""


def dot(codes, activations, columns):
    """Start five sums at 0, and add up a row group of so many columns."""


def restart():
    """Begin `main` anew, from wherever this is."""
