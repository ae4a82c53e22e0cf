"""CRC-32 as arithmetic over GF(2), so that a digest can be summed in any order.

A CRC register is a polynomial modulo P, kept with its coefficients reversed: bit 31 is x^0. Feeding
a little-endian 32-bit word adds it to the register and multiplies by x^32 (Sarwate,
"Computation of cyclic redundancy checks via table look-up", CACM 31(8), 1988). So the register
behind N words is

    start x^(32 N)  +  sum over n of word_n x^(32 (N - n))

whose terms are independent: the sum is an exclusive or. zlib's CRC-32 inverts the register before
and after.
"""

import numpy as np

__all__ = ["POLYNOMIAL", "Chain", "Shift", "multiply", "powers"]

POLYNOMIAL = 0xEDB88320
"""P of CRC-32 without its leading term, reversed."""

ONE = 1 << 31               # x^0
MASK = 0xFFFFFFFF


def multiply(a, b) -> np.ndarray:
    """Product of two polynomials modulo P, elementwise; uint32."""
    a, b = np.broadcast_arrays(np.asarray(a, np.uint32), np.asarray(b, np.uint32))
    b, product = b.copy(), np.zeros(a.shape, np.uint32)
    for degree in range(32):
        product ^= np.where(a >> np.uint32(31 - degree) & np.uint32(1), b, np.uint32(0))
        b = b >> np.uint32(1) ^ np.where(b & np.uint32(1), np.uint32(POLYNOMIAL), np.uint32(0))
    return product


def powers(count: int) -> np.ndarray:
    """Return x^(32 n) for n = 0 to `count`, uint32."""
    table = np.array([ONE], np.uint32)
    step = np.uint32(POLYNOMIAL)        # x^32 mod P is P without its leading term
    while len(table) <= count:
        table = np.concatenate([table, multiply(table, step)])
        step = multiply(step, step)
    return table[:count + 1]


class Shift:
    """Moves registers on by one number of words, all of them zero.

    A digest of A and then B is that of A, moved on by the words of B, plus that of B: zlib's
    inversions cancel.

    Parameters
    ----------
    words : int
        32-bit words to move by.
    """

    def __init__(self, words: int):
        shift = powers(words)[words]
        # The product with a constant, by the four bytes of the other factor.
        byte = np.arange(256, dtype=np.uint32)
        self._tables = [multiply(byte << np.uint32(8 * n), shift).tolist() for n in range(4)]

    def __call__(self, register: int) -> int:
        """Return the register behind the words."""
        a, b, c, d = self._tables
        return (a[register & 255] ^ b[register >> 8 & 255] ^ c[register >> 16 & 255]
                ^ d[register >> 24])


class Chain:
    """Continues zlib CRC-32 digests by pieces of one length, given as their sums.

    Parameters
    ----------
    words : int
        32-bit words of each piece.
    """

    def __init__(self, words: int):
        self._shift = Shift(words)

    def __call__(self, digest: int, total: int) -> int:
        """Return the digest of what `digest` has seen and a piece whose terms sum up to `total`.

        Of the total the lower 32 bits count.
        """
        return ~(self._shift(~digest & MASK) ^ total) & MASK
