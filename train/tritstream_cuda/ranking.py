"""The best logits, ties to the lower token: first in blocks of the vocabulary, then of these."""

import triton
import triton.language as tl

from tritstream_cuda.digest import terms

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
def choose(keys, count, tokens, kept, stops, turns, results, factors, totals,
           power, places, sides,
           KEPT: tl.constexpr, RESULT: tl.constexpr, PASSES: tl.constexpr, BLOCK: tl.constexpr):
    """End a pass: rank a lane's keys, take the best token as the next, and write its result.

    Parameters
    ----------
    keys, count
        From `best_of_blocks`, int64 [lanes, count].
    tokens, kept, stops
        int32 [lanes]: next token; 0 where the state stays, as it does behind the stop token; the
        stop token, or -1.
    turns, results
        int32 [lanes], which pass this is, and int64 [PASSES, lanes, RESULT]: keys, then mantissa
        and shift of the logits, then the digest's terms of the body and of all.
    factors
        int64 [lanes, 8], mantissa of the logits and at 4 their shift.
    totals, power
        Digest's terms of the body and of the head, int32 [lanes, 2], cleared; x^(32 n) of the words
        of the head.
    places, sides
        See `decode.state_of`: the state becomes the one behind the token.
    KEPT, RESULT, PASSES, BLOCK
        Candidates, numbers of a result, passes whose results are kept, and a power of two that
        covers `count`.
    """
    row = tl.program_id(0)
    index, two = tl.arange(0, BLOCK), tl.arange(0, 2)
    key = tl.load(keys + row * count + index, index < count, LOWEST)
    turn, goes_on = tl.load(turns + row), tl.load(kept + row)
    out = results + (turn * tl.num_programs(0) + row) * RESULT
    first = tl.max(key, axis=0)
    for n in tl.static_range(KEPT):
        best = tl.max(key, axis=0)
        tl.store(out + n, best)
        key = tl.where(key == best, LOWEST, key)
    tl.store(out + KEPT, tl.load(factors + 8 * row))
    tl.store(out + KEPT + 1, tl.load(factors + 8 * row + 4))
    body, head = tl.load(totals + 2 * row), tl.load(totals + 2 * row + 1)
    tl.store(out + KEPT + 2, body.to(tl.int64))
    tl.store(out + KEPT + 3, (terms(body, tl.load(power)) ^ head).to(tl.int64))
    tl.store(totals + 2 * row + two, tl.zeros([2], tl.int32))
    side = sides + tl.load(places + row)
    tl.store(side, 1 - tl.load(side), goes_on != 0)
    token = 65535 - (first & 65535).to(tl.int32)
    tl.store(tokens + row, token)
    tl.store(kept + row, goes_on * (token != tl.load(stops + row)).to(tl.int32))
    tl.store(turns + row, (turn + 1) % PASSES)
