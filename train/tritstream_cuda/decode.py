"""One token of one conversation: a kernel for each stage, as the accelerator does it.

Each program of a stage quantises the whole input vector for itself (it comes from the cache), so
that nothing but the vector and its statistics passes from one kernel to the next. It meets the
vector with its share of the packed trits, finishes its elements, and adds their part to the
statistics of the output with integer atomics, whose order cannot matter.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from tritstream.formats import FORMATS
from tritstream.image.tape import Op
from tritstream_cuda.elements import (
    dequantise,
    gate,
    opened,
    quantise,
    recur,
    silu,
)
from tritstream_cuda.scalars import bit_length, reciprocal
from tritstream_cuda.statistics import (
    PEAKS,
    ROW,
    constants,
    loaded_parts,
    peaks,
    scales,
    sums,
)
from tritstream_cuda.ternary import dot4, row_sums, stack_place, triple

__all__ = ["TILES", "UP", "embed", "row_of", "stage"]

TILES = {Op.MLGRU: (1, 256, 4), Op.RESIDUAL: (1, 256, 4), Op.GLU: (2, 256, 4),
         Op.HEAD: (8, 256, 4)}
"""Row groups of a program, words that it meets at once, and its warps."""

UP = FORMATS.dequant_up

MLGRU = tl.constexpr(1)     # values of `tritstream.image.tape.Op`
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
def _trits(body, words, group, groups, P: tl.constexpr, INDEX: tl.constexpr, CHUNKS: tl.constexpr,
           WORDS: tl.constexpr):
    """Load a projection's trits of some row groups: `CHUNKS` tensors int32 [GROUPS, WORDS]."""
    parts = ()
    row = body + (group[:, None] * P + INDEX) * words
    for chunk in tl.static_range(CHUNKS):
        word = chunk * WORDS + tl.arange(0, WORDS)[None, :]
        parts = parts + (tl.load(row + word, (group[:, None] < groups) & (word < words), 0),)
    return parts


@triton.jit
def _columns(vector, columns, CHUNKS: tl.constexpr, WORDS: tl.constexpr):
    """Load a vector as it meets the words of four trits: `CHUNKS` tensors [WORDS, 4]."""
    parts = ()
    for chunk in tl.static_range(CHUNKS):
        column = (chunk * WORDS + tl.arange(0, WORDS))[:, None] * 4 + tl.arange(0, 4)[None, :]
        parts = parts + (tl.load(vector + column, column < columns, 0),)
    return parts


@triton.jit
def _projection(parts, vector, gains, length, factor, CHUNKS: tl.constexpr):
    """Row sums of one projection from its trits, int32 [GROUPS, 8]."""
    s0 = tl.zeros_like(parts[0])
    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
    four = tl.arange(0, 4)[None, :]
    for chunk in tl.static_range(CHUNKS):
        q = quantise(vector[chunk], gains[chunk], length, factor)
        acts = tl.sum((q & 255) << (8 * four), axis=1)[None, :]
        part = parts[chunk]
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
def stage(body, parameters, vector, gains, gain_stride, statistics, residual, out, next_statistics,
          keep, pre, next_gains, next_stride, state, active, head_scale, table,
          columns, rows, words, groups,
          OP: tl.constexpr, CHUNKS: tl.constexpr, WORDS: tl.constexpr, GROUPS: tl.constexpr,
          EARLY: tl.constexpr):
    """Play one stage for one token.

    Parameters
    ----------
    body, parameters, keep, pre, next_gains, next_stride
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
    EARLY
        Whether the kernel may start before the one before has ended (programmatic dependent launch,
        Hopper and later).
    """
    P: tl.constexpr = 3 if OP == MLGRU else (2 if OP == GLU else 1)
    SHARED: tl.constexpr = 1 if OP == MLGRU else 0      # the input vector is quantised three ways
    PEAKS_OUT: tl.constexpr = 3 if OP == RESIDUAL else 1
    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    place = stack_place()[None, :]
    element = group[:, None] * 5 + place
    inside = (place < 5) & (element < rows)

    # What does not depend on the stage before is on its way while that still runs.
    numbers = constants(parameters)
    parts0 = _trits(body, words, group, groups, P, 0, CHUNKS, WORDS)
    gains0 = _columns(gains, columns, CHUNKS, WORDS)
    if P > 1:
        parts1 = _trits(body, words, group, groups, P, 1, CHUNKS, WORDS)
        gains1 = gains0
        fraction = tl.load(parameters + 12).to(tl.int32)
    if P > 2:
        parts2 = _trits(body, words, group, groups, P, 2, CHUNKS, WORDS)
        gains1 = _columns(gains + gain_stride, columns, CHUNKS, WORDS)
        gains2 = _columns(gains + 2 * gain_stride, columns, CHUNKS, WORDS)
        fraction1 = tl.load(parameters + 13).to(tl.int32)
        kept = tl.load(keep + element, inside, 0).to(tl.int32) & 0xFFFF
    if OP == MLGRU or OP == RESIDUAL:
        before = tl.load(pre + element, inside, 0)
    if OP != HEAD:
        peak_gains = ()
        for n in tl.static_range(PEAKS_OUT):
            peak_gains = peak_gains + (tl.load(next_gains + n * next_stride + element, inside, 0),)
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()

    four = tl.arange(0, 4)
    amax = tl.load(statistics + PEAKS + tl.minimum(four, 2 * SHARED))
    parts = loaded_parts(statistics)
    acts = _columns(vector, columns, CHUNKS, WORDS)
    if OP == RESIDUAL:
        old = tl.load(residual + element, inside, 0)
    if OP == MLGRU:
        old = tl.load(state + element, inside, 0)
        alive = tl.load(active) != 0
    length, factor = bit_length(amax), reciprocal(amax)
    mantissa, shift = scales(parts, amax, numbers)
    acc0 = _projection(parts0, acts, gains0, _pick(length, 0), _pick(factor, 0), CHUNKS)
    if OP == HEAD:
        tl.store(out + element, acc0, inside)
        if tl.program_id(0) == 0:
            tl.store(head_scale, _pick(mantissa, 0))
            tl.store(head_scale + 4, _pick(shift, 0))
    else:
        y0 = dequantise(acc0, _pick(mantissa, 0), _pick(shift, 0)).to(tl.int32)
        first = y0
        if OP == RESIDUAL:
            v = old + y0
            first = v
        else:
            acc1 = _projection(parts1, acts, gains1, _pick(length, 1), _pick(factor, 1), CHUNKS)
            y1 = dequantise(acc1, _pick(mantissa, 1), _pick(shift, 1)).to(tl.int32)
            if OP == GLU:
                v = gate(y0, y1, fraction, table)
            else:
                acc2 = _projection(parts2, acts, gains2, _pick(length, 2), _pick(factor, 2),
                                   CHUNKS)
                first = dequantise(acc2, _pick(mantissa, 2), _pick(shift, 2)).to(tl.int32)
                new = recur(old, silu(y0, fraction, table) << 6,
                            opened(y1, kept, fraction1, table))
                tl.store(state + element, tl.where(alive, new, old), inside)
                v = gate((new + 32) >> 6, first, fraction, table)
        v = tl.where(inside, v, 0)
        first = tl.where(inside, first, 0)
        tl.store(out + element, v, inside)
        if OP == GLU:
            total = sums(v, first, 0, False, False)
        else:
            total = sums(v, first, before, True, True)
        tl.atomic_add(next_statistics + stack_place(), total, sem="relaxed")
        for n in tl.static_range(PEAKS_OUT):
            tl.atomic_max(next_statistics + PEAKS + n, peaks(v, peak_gains[n]), sem="relaxed")
