"""One token of one conversation: a kernel for each stage, as the accelerator does it.

Each program of a stage quantises the whole input vector for itself (it comes from the cache), so
that nothing but the vector and its statistics passes from one kernel to the next. It meets the
vector with its share of the packed trits, finishes its elements, and adds their part to the
statistics of the output with integer atomics, whose order cannot matter.
"""

import triton
import triton.language as tl

from tritstream.config import FORMATS
from tritstream.tape import Op
from tritstream_train.engine.elements import (
    dequantise,
    gate,
    opened,
    quantise,
    recur,
    silu,
)
from tritstream_train.engine.scalars import bit_length, reciprocal
from tritstream_train.engine.statistics import PEAKS, ROW, peaks, scales, sums
from tritstream_train.engine.ternary import dot4, row_sums, stack_place, triple

__all__ = ["GROUPS", "UP", "embed", "row_of", "stage"]

GROUPS = {Op.GLU: 2, Op.HEAD: 8}
"""Row groups of a program where it is not 1: more share the work of quantising."""

UP = FORMATS.dequant_up

MLGRU = tl.constexpr(1)     # values of `tritstream.tape.Op`
RESIDUAL = tl.constexpr(2)
GLU = tl.constexpr(3)
HEAD = tl.constexpr(4)


@triton.jit
def row_of(rows, row_bytes, token, element, inside, WIDE: tl.constexpr):
    """Elements of a token's embedding row in the residual's format, int32."""
    row = rows + token.to(tl.int64) * row_bytes
    mantissa = tl.load(row).to(tl.int64) + (tl.load(row + 1).to(tl.int64) << 8)
    shift = tl.load(row + 2).to(tl.int64)
    if WIDE:
        place = row + 4 + 3 * element
        q = tl.load(place, inside, 0).to(tl.int32)
        q += tl.load(place + 1, inside, 0).to(tl.int32) << 8
        q += tl.load(place + 2, inside, 0).to(tl.int8, bitcast=True).to(tl.int32) << 16
    else:
        q = tl.load(row + 4 + element, inside, 0).to(tl.int8, bitcast=True).to(tl.int32)
    return dequantise(q, mantissa, shift).to(tl.int32)


@triton.jit
def embed(rows, row_bytes, tokens, out, table_of_statistics, pre, gains, gain_stride, hidden,
          statistics_length, WIDE: tl.constexpr, BLOCK: tl.constexpr, CLEAR: tl.constexpr):
    """Write the embedding of `tokens[0]` and its statistics; clear those of all other stages."""
    clear = tl.arange(0, CLEAR)
    for start in range(0, statistics_length, CLEAR):
        index = start + clear
        tl.store(table_of_statistics + index, tl.zeros([CLEAR], tl.int64),
                 (index >= ROW) & (index < statistics_length))
    element = tl.arange(0, BLOCK)
    inside = element < hidden
    x = row_of(rows, row_bytes, tl.load(tokens), element, inside, WIDE)
    x = tl.where(inside, x, 0)
    tl.store(out + element, x, inside)
    total = sums(x, x, tl.load(pre + element, inside, 0), True, True)
    tl.store(table_of_statistics + stack_place(), total)
    for n in tl.static_range(3):
        gain = tl.load(gains + n * gain_stride + element, inside, 0)
        tl.store(table_of_statistics + PEAKS + n, peaks(x, gain))


@triton.jit
def _pick(values, index: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, 4) == index, values, 0), axis=0)


@triton.jit
def _projection(body, vector, gain, length, factor, columns, words, group, groups,
                P: tl.constexpr, INDEX: tl.constexpr, CHUNKS: tl.constexpr, WORDS: tl.constexpr,
                GROUPS: tl.constexpr):
    """Row sums of one projection for `group` [GROUPS] row groups, int32 [GROUPS, 8]."""
    s0 = tl.zeros([GROUPS, WORDS], tl.int32)
    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
    four = tl.arange(0, 4)
    for chunk in tl.static_range(CHUNKS):
        word = chunk * WORDS + tl.arange(0, WORDS)
        part = tl.load(body + (group[:, None] * P + INDEX) * words + word[None, :],
                       (group[:, None] < groups) & (word[None, :] < words), 0)
        column = word[:, None] * 4 + four[None, :]
        v = tl.load(vector + column, column < columns, 0)
        g = tl.load(gain + column, column < columns, 0)
        q = quantise(v, g, length, factor)
        acts = tl.sum((q & 255) << (8 * four[None, :]), axis=1)[None, :]
        s0 = dot4(part, acts, s0)
        part = triple(part)
        s1 = dot4(part, acts, s1)
        part = triple(part)
        s2 = dot4(part, acts, s2)
        part = triple(part)
        s3 = dot4(part, acts, s3)
        part = triple(part)
        s4 = dot4(part, acts, s4)
        part = triple(part)
        s5 = dot4(part, acts, s5)
    return row_sums(s0, s1, s2, s3, s4, s5)


@triton.jit
def stage(body, params, vector, gains, gain_stride, statistics, residual, out, next_statistics,
          keep, pre, next_gains, next_stride, state, active, head_scale, table,
          columns, rows, words, groups,
          OP: tl.constexpr, CHUNKS: tl.constexpr, WORDS: tl.constexpr, GROUPS: tl.constexpr):
    """Play one stage for one token.

    Parameters
    ----------
    body, params, keep, pre, next_gains, next_stride
        Of this stage, see `weights.Stage`.
    vector, gains, gain_stride, statistics
        Input vector, int32 [columns], and its gains and statistics.
    residual, out
        x, int32 [rows], and the output vector.
    next_statistics
        Row that gathers the statistics of the output, zero before.
    state
        int32 [rows], of this layer.
    active
        int32; if 0 the state stays as it is.
    head_scale
        int64 [8], mantissa and at 4 shift of the logits (HEAD).
    table
        `elements.SIGMOID_TABLE`.
    columns, rows, words, groups
        Of this stage, see `weights.Stage`.
    OP
        What the stage does.
    CHUNKS, WORDS
        Words of a row group that are met at once, and how often.
    GROUPS
        Row groups of a program.
    """
    four = tl.arange(0, 4)
    vectors: tl.constexpr = 3 if OP == MLGRU else 1
    P: tl.constexpr = 3 if OP == MLGRU else (2 if OP == GLU else 1)
    amax = tl.load(statistics + PEAKS + tl.minimum(four, vectors - 1))
    length, factor = bit_length(amax), reciprocal(amax)
    total = tl.load(statistics + stack_place())
    mantissa, shift = scales(total, amax, params)

    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    place = stack_place()[None, :]
    element = group[:, None] * 5 + place
    inside = (place < 5) & (element < rows)

    acc0 = _projection(body, vector, gains, _pick(length, 0), _pick(factor, 0), columns, words,
                       group, groups, P, 0, CHUNKS, WORDS, GROUPS)
    if OP == HEAD:
        tl.store(out + element, acc0, inside)
        if tl.program_id(0) == 0:
            tl.store(head_scale, _pick(mantissa, 0))
            tl.store(head_scale + 4, _pick(shift, 0))
    else:
        y0 = dequantise(acc0, _pick(mantissa, 0), _pick(shift, 0)).to(tl.int32)
        first = y0
        if OP == RESIDUAL:
            v = y0 + tl.load(residual + element, inside, 0)
            first = v
        else:
            SHARED: tl.constexpr = 0 if OP == GLU else 1
            acc1 = _projection(body, vector, gains + SHARED * gain_stride, _pick(length, 1),
                               _pick(factor, 1), columns, words, group, groups, P, 1, CHUNKS,
                               WORDS, GROUPS)
            y1 = dequantise(acc1, _pick(mantissa, 1), _pick(shift, 1)).to(tl.int32)
            fraction = tl.load(params + 12).to(tl.int32)
            if OP == GLU:
                v = gate(y0, y1, fraction, table)
            else:
                acc2 = _projection(body, vector, gains + 2 * gain_stride, _pick(length, 2),
                                   _pick(factor, 2), columns, words, group, groups, P, 2, CHUNKS,
                                   WORDS, GROUPS)
                first = dequantise(acc2, _pick(mantissa, 2), _pick(shift, 2)).to(tl.int32)
                fraction1 = tl.load(params + 13).to(tl.int32)
                kept = tl.load(keep + element, inside, 0).to(tl.int32) & 0xFFFF
                h = tl.load(state + element, inside, 0)
                new = recur(h, silu(y0, fraction, table) << 6,
                            opened(y1, kept, fraction1, table))
                tl.store(state + element, tl.where(tl.load(active) != 0, new, h), inside)
                v = gate((new + 32) >> 6, first, fraction, table)
        v = tl.where(inside, v, 0)
        first = tl.where(inside, first, 0)
        tl.store(out + element, v, inside)
        if OP == GLU:
            total = sums(v, first, 0, False, False)
            number: tl.constexpr = 1
        else:
            total = sums(v, first, tl.load(pre + element, inside, 0), True, True)
            number: tl.constexpr = 3 if OP == RESIDUAL else 1
        tl.atomic_add(next_statistics + stack_place(), total, sem="relaxed")
        for n in tl.static_range(number):
            gain = tl.load(next_gains + n * next_stride + element, inside, 0)
            tl.atomic_max(next_statistics + PEAKS + n, peaks(v, gain), sem="relaxed")
