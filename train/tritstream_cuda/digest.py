"""Digests on the GPU: the terms of a CRC-32, see `crc`."""

import triton
import triton.language as tl

from tritstream.support.crc import POLYNOMIAL

__all__ = ["add_terms", "terms"]

REDUCTION = tl.constexpr(POLYNOMIAL)


@triton.jit
def terms(words, factor):
    """Products of int32 `words` and `factor` modulo P; int32.

    Where many words have one factor, its multiples are made once.
    """
    b = factor.to(tl.uint32, bitcast=True)
    product = (words >> 31) & b.to(tl.int32, bitcast=True)
    for _ in tl.static_range(31):
        words = words << 1
        b = (b >> 1) ^ tl.where((b & 1) != 0, REDUCTION, 0)
        product ^= (words >> 31) & b.to(tl.int32, bitcast=True)
    return product


@triton.jit
def add_terms(vectors, stride, powers, length, rest, blocks, count, totals,
              ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Add the terms of rows of int32 words to `totals`.

    Parameters
    ----------
    vectors, stride
        Words, and the distance of rows.
    powers
        int32 [n], x^(32 n).
    length, rest
        Words of a row's first and of its second piece, each with a total of its own.
    blocks
        Programs for the first piece.
    count
        Rows.
    totals
        int32 [count, 2].
    ROWS, BLOCK
        Rows and words of a program.
    """
    row, block = tl.program_id(1) * ROWS + tl.arange(0, ROWS), tl.program_id(0)
    piece = (block >= blocks).to(tl.int32)
    size = tl.where(piece != 0, rest, length)
    word = (block - piece * blocks) * BLOCK + tl.arange(0, BLOCK)
    factor = tl.load(powers + size - word, word < size, 0)[None, :]
    place = vectors + row.to(tl.int64)[:, None] * stride + (piece * length + word)[None, :]
    value = tl.load(place, (row < count)[:, None] & (word < size)[None, :], 0)
    tl.atomic_xor(totals + 2 * row + piece, tl.xor_sum(terms(value, factor), axis=1),
                  row < count, sem="relaxed")
