"""Arithmetic of more than 32 bits, and what takes a digit at a time."""

from tritstream_hw.micro.language import add_carry, high, left_pair, right_pair, unsigned_right

# A number of 96 bits, the lowest word first.
n0 = 0
n1 = 0
n2 = 0


def bits(word):
    """Return how many bits an unsigned word has."""
    count = 0
    while word:
        word = unsigned_right(word, 1)
        count += 1
    return count


def pair_bits(upper, lower):
    """Return how many bits an unsigned pair has."""
    if upper:
        return bits(upper) + 32
    return bits(lower)


def wide_bits():
    """Return how many bits n has."""
    if n2:
        return bits(n2) + 64
    return pair_bits(n1, n0)


def add_shifted(word, places):
    """Add to n an unsigned word times a power of two; the exponent may be negative."""
    global n0, n1, n2
    if places < 0:
        if places < -31:
            return
        word = unsigned_right(word, -places)
        places = 0
    position = unsigned_right(places, 5)
    lower = left_pair(0, word, places & 31)
    upper = high()
    if position == 0:
        n0 = n0 + lower
        n1 = add_carry(n1, upper)
        n2 = add_carry(n2, 0)
    elif position == 1:
        n1 = n1 + lower
        n2 = add_carry(n2, upper)
    elif position == 2:
        n2 = n2 + lower


def shift_wide(places):
    """Shift n right, by less than 96; of its two lower words at least are right then."""
    global n0, n1, n2
    while places > 31:
        n0 = n1
        n1 = n2
        n2 = 0
        places -= 32
    n0 = right_pair(n1, n0, places)
    n1 = right_pair(n2, n1, places)


def left_wide(places):
    """Shift n, of less than 64 bits, left by less than 64."""
    global n0, n1
    n0 = left_pair(n1, n0, places)
    n1 = high()


def quotient(numerator, denominator, digits):
    """Return `(numerator << digits) // denominator` for numerator < 2 * denominator < 2**31."""
    result = 0
    while True:
        result <<= 1
        if numerator >= denominator:
            numerator -= denominator
            result |= 1
        if digits == 0:
            return result
        numerator <<= 1
        digits -= 1


def root():
    """Return the square root of the lower 34 bits of n, truncated: 17 bits."""
    left_wide(30)
    upper = n1
    lower = n0
    rest = 0
    result = 0
    digits = 17
    while digits:
        rest = (rest << 2) | unsigned_right(upper, 30)
        lower = left_pair(upper, lower, 2)
        upper = high()
        trial = (result << 2) | 1
        result <<= 1
        if rest >= trial:
            rest -= trial
            result |= 1
        digits -= 1
    return result
