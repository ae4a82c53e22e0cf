"""Digests on the GPU: the terms of a CRC-32, see `crc`."""

import triton
import triton.language as tl

from tritstream.support.crc import POLYNOMIAL

__all__ = ["add_terms", "terms"]

REDUCTION = tl.constexpr(POLYNOMIAL)


@triton.jit
def terms(words, factor):
    """Products of int32 `words` and `factor` modulo P, summed over all axes; int32."""
    a, b = words.to(tl.uint32, bitcast=True), factor.to(tl.uint32, bitcast=True)
    product = tl.zeros_like(a)
    for _ in tl.static_range(32):
        product ^= tl.where((a >> 31) != 0, b, 0)
        a = a << 1
        b = (b >> 1) ^ tl.where((b & 1) != 0, REDUCTION, 0)
    product = product.to(tl.int32, bitcast=True)
    return tl.xor_sum(tl.reshape(product, [product.numel]), axis=0)


@triton.jit
def add_terms(vectors, stride, powers, tail, length, totals, BLOCK: tl.constexpr):
    """Add the terms of rows of int32 words to `totals`, int32 [rows].

    Parameters
    ----------
    vectors, stride
        Words, and the distance of rows.
    powers
        int32 [n], x^(32 n).
    tail
        Words that follow behind these in their piece.
    length
        Words of a row.
    totals
        int32 [rows].
    BLOCK
        Words of a program.
    """
    row = tl.program_id(1)
    word = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = word < length
    value = tl.load(vectors + row.to(tl.int64) * stride + word, inside, 0)
    factor = tl.load(powers + tail + length - word, inside, 0)
    tl.atomic_xor(totals + row, terms(value, factor), sem="relaxed")
