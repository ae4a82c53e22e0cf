"""CRC-32 in pieces against zlib."""

import zlib

import numpy as np
import pytest

from tritstream.support.crc import Chain, Shift, multiply, powers


def test_powers_of_the_register():
    table = powers(70)
    for n in (0, 1, 2, 33, 70):
        # A register of x^0 behind n zero words, without zlib's inversions.
        register = zlib.crc32(bytes(4 * n), 0xFFFFFFFF ^ 1 << 31) ^ 0xFFFFFFFF
        assert table[n] == register
    assert multiply(table[30], table[40]) == table[70]


@pytest.mark.parametrize("words", [1, 5, 1000])
def test_chain_is_zlib(words):
    table, chain = powers(words), Chain(words)
    digest = expected = 0
    for piece in np.random.default_rng(words).integers(0, 1 << 32, (3, words), np.uint32):
        total = np.bitwise_xor.reduce(multiply(piece, table[words - np.arange(words)]))
        digest, expected = chain(digest, int(total)), zlib.crc32(piece.tobytes(), expected)
        assert digest == expected


@pytest.mark.parametrize("words", [0, 1, 7, 1000])
def test_digests_of_two_pieces_make_that_of_both(words):
    first, second = b"what came before", np.random.default_rng(words).bytes(4 * words)
    joined = Shift(words)(zlib.crc32(first)) ^ zlib.crc32(second)
    assert joined == zlib.crc32(first + second)
