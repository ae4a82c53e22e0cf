"""The best logits, ties to the lower token: first in blocks of the vocabulary, then of these."""

import triton
import triton.language as tl

__all__ = ["best_of_blocks", "choose"]

LOWEST = tl.constexpr(-(1 << 62))


@triton.jit
def best_of_blocks(logits, stride, keys, vocab, KEPT: tl.constexpr, BLOCK: tl.constexpr):
    """Write the `KEPT` largest keys of each block, int64 [rows, blocks, KEPT].

    A key is the int32 logit times 2^16, plus 65535 less the token: no two are equal.
    """
    row, block = tl.program_id(1), tl.program_id(0)
    token = block * BLOCK + tl.arange(0, BLOCK)
    logit = tl.load(logits + row.to(tl.int64) * stride + token, token < vocab, 0)
    key = tl.where(token < vocab, (logit.to(tl.int64) << 16) + (65535 - token), LOWEST)
    out = keys + (row * tl.num_programs(0) + block) * KEPT
    for n in tl.static_range(KEPT):
        best = tl.max(key, axis=0)
        tl.store(out + n, best)
        key = tl.where(key == best, LOWEST, key)


@triton.jit
def choose(keys, count, tokens, active, stop, position, results, factors, totals,
           KEPT: tl.constexpr, RESULT: tl.constexpr, BLOCK: tl.constexpr):
    """Rank a row's keys, take the best token as the next, and write the row's result.

    Parameters
    ----------
    keys, count
        From `best_of_blocks`, int64 [rows, count].
    tokens, active, position
        int32 [rows]: next token; 0 behind the stop token; number of this pass.
    stop
        The stop token, or -1.
    results
        int64 [passes, rows, RESULT]: keys, then mantissa and shift of the logits, then the digest's
        terms.
    factors, totals
        int64 [rows, 8], mantissa of the logits and at 4 their shift; int32 [rows], cleared.
    KEPT, RESULT, BLOCK
        Candidates, numbers of a result, and a power of two that covers `count`.
    """
    row = tl.program_id(0)
    index = tl.arange(0, BLOCK)
    key = tl.load(keys + row * count + index, index < count, LOWEST)
    number = tl.load(position + row)
    out = results + (number.to(tl.int64) * tl.num_programs(0) + row) * RESULT
    first = tl.max(key, axis=0)
    for n in tl.static_range(KEPT):
        best = tl.max(key, axis=0)
        tl.store(out + n, best)
        key = tl.where(key == best, LOWEST, key)
    tl.store(out + KEPT, tl.load(factors + 8 * row))
    tl.store(out + KEPT + 1, tl.load(factors + 8 * row + 4))
    tl.store(out + KEPT + 2, tl.load(totals + row).to(tl.int64))
    tl.store(totals + row, 0)
    token = 65535 - (first & 65535).to(tl.int32)
    tl.store(tokens + row, token)
    tl.store(active + row, tl.load(active + row) * (token != stop).to(tl.int32))
    tl.store(position + row, number + 1)
