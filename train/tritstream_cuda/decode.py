"""A token each of one or two conversations: a kernel for each stage, as the accelerator does it.

Each program of a stage has one lane. It quantises the whole input vector for itself (it comes from
the cache), so that nothing but the vector and its statistics passes from one kernel to the next. It
meets the vector with its share of the packed trits, finishes its elements, and adds their part to
the statistics of the output with integer atomics, whose order cannot matter. All of that waits more
than it computes, so programs of two lanes go side by side. For more conversations that is too much
to be done in every program: see `many`.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from tritstream.formats import FORMATS
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
from tritstream_cuda.ternary import dot4, stack_place, stacked_rows, triple

__all__ = ["GLU", "HEAD", "MLGRU", "RESIDUAL", "UP", "account", "elements_of", "embed", "formed",
           "loaded", "row_of", "stage", "state_of"]

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
    return dequantise(q, mantissa, shift)


@triton.jit
def state_of(state, size, sides, place):
    """Where the states of int32 `place` are, and where they go: see `states.States`."""
    side = tl.load(sides + place)
    first = place.to(tl.int64) * 2
    return state + (first + side) * size, state + (first + 1 - side) * size


@triton.jit
def embed(rows, row_bytes, tokens, vectors, words, table_of_statistics, pre, gains, gain_stride,
          hidden, statistics_length, WIDE: tl.constexpr, BLOCK: tl.constexpr, CLEAR: tl.constexpr):
    """Write a lane's embedding and its statistics, and clear those of later stages.

    `vectors` is int32 [lanes, words], `table_of_statistics` int64 [lanes, statistics_length].
    """
    lane = tl.program_id(0)
    table_of_statistics += lane * statistics_length
    clear = tl.arange(0, CLEAR)
    for start in range(0, statistics_length, CLEAR):
        index = start + clear
        tl.store(table_of_statistics + index, tl.zeros([CLEAR], tl.int64),
                 (index >= ROW) & (index < statistics_length))
    element = tl.arange(0, BLOCK)
    inside = element < hidden
    x = row_of(rows, row_bytes, tl.load(tokens + lane), element, inside, WIDE)
    x = tl.where(inside, x, 0)
    tl.store(vectors + lane * words + element, x, inside)
    x = x[None, :]
    tl.store(table_of_statistics + tl.arange(0, 4)[None, :],
             sums(x, x, tl.load(pre + element, inside, 0)[None, :], True, True))
    for n in tl.static_range(3):
        gain = tl.load(gains + n * gain_stride + element, inside, 0)[None, :]
        tl.store(table_of_statistics + PEAKS + n + tl.arange(0, 1), peaks(x, gain))


@triton.jit
def elements_of(index, rows, GROUPS: tl.constexpr):
    """Lay out the elements of a program's row groups, one lane's behind the other's.

    Returns
    -------
    tuple
        Of int32 `index` in 0 to 8 GROUPS LANES: lane, element, whether there is such, its group
        among the program's, and where `ternary.stack_place` has its row.
    """
    column = index % (8 * GROUPS)
    group = column // 5
    element = tl.program_id(0) * (5 * GROUPS) + column
    inside = (column < 5 * GROUPS) & (element < rows)
    return (index // (8 * GROUPS), element, inside, tl.minimum(group, GROUPS - 1),
            stack_place(column - 5 * group))


@triton.jit
def loaded(gains, stride, element, inside, COUNT: tl.constexpr):
    """Load the gains of some elements, of each of `COUNT` banks."""
    found = ()
    for n in tl.static_range(COUNT):
        found = found + (tl.load(gains + n * stride + element, inside, 0),)
    return found


@triton.jit
def formed(OP: tl.constexpr, y0, y1, y2, old, new, fraction, table):
    """Form an output vector of what the projections gave.

    Parameters
    ----------
    OP
        What the stage does.
    y0, y1, y2
        int32: y (RESIDUAL); a and b (GLU); i, f and g (MLGRU).
    old, new
        x (RESIDUAL); the state behind the token (MLGRU).
    fraction
        Fraction bits of a or i.
    table
        `elements.SIGMOID_TABLE`.

    Returns
    -------
    tuple
        The vector, and what the first of two norms divides by.
    """
    if OP == RESIDUAL:
        v = old + y0
        first = v
    elif OP == GLU:
        v = gate(y0, y1, fraction, table)
        first = v
    else:
        v = gate((new + 32) >> 6, y2, fraction, table)
        first = y2
    return v, first


@triton.jit
def account(OP: tl.constexpr, statistics, v, first, before, peak_gains, LANES: tl.constexpr):
    """Add elements, zero where there is none, to rows of statistics [LANES, 1]."""
    SIZE: tl.constexpr = v.numel // LANES
    v, first = tl.reshape(v, [LANES, SIZE]), tl.reshape(first, [LANES, SIZE])
    if OP == GLU:
        total = sums(v, first, before, False, False)
    else:
        total = sums(v, first, tl.reshape(before, [LANES, SIZE]), True, True)
    tl.atomic_add(statistics + tl.arange(0, 4)[None, :], total, sem="relaxed")
    for n in tl.static_range(3 if OP == RESIDUAL else 1):
        largest = peaks(v, tl.reshape(peak_gains[n], [LANES, SIZE]))
        tl.atomic_max(statistics + PEAKS + n, largest[:, None], sem="relaxed")


@triton.jit
def _pick(values, index: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, values.numel) == index, values, 0), axis=0)


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
def _products(parts, vector, gains, length, factor, CHUNKS: tl.constexpr):
    """Meet the trits of a projection with a vector: `ternary.stacked_rows` [GROUPS, WORDS, ...]."""
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
    return stacked_rows(s0, s1, s2, s3, s4, s5)


@triton.jit
def _projection(parts, vector, gains, lengths, factors, place, INDEX: tl.constexpr,
                CHUNKS: tl.constexpr):
    """Row sums of one projection from its trits, int32, each where `place` says.

    `lengths` and `factors` are the numbers of all quantisers.
    """
    found = _products(parts, vector, gains, _pick(lengths, INDEX), _pick(factors, INDEX), CHUNKS)
    GROUPS: tl.constexpr = parts[0].shape[0]
    acc = tl.sum(tl.reshape(found, [GROUPS, parts[0].shape[1], 8]), axis=1)
    # Every thread has all of them, until a gather shares them out.
    return tl.gather(tl.reshape(acc, [8 * GROUPS]), place, 0)


@triton.jit
def _dequantised(acc, mantissa, shift, INDEX: tl.constexpr):
    """Scale the row sums of a projection; mantissas and shifts of all are from `scales`."""
    own = tl.full(acc.shape, INDEX, tl.int32)
    return dequantise(acc, tl.gather(mantissa, own, 0), tl.gather(shift, own, 0))


@triton.jit
def stage(body, parameters, vectors, words, vector_at, residual_at, out_at, gains, gain_stride,
          statistics, statistics_length, statistics_at, next_at, keep, pre, next_gains, next_stride,
          state, size, sides, places, kept, head_scale, table,
          columns, rows, group_words, groups,
          OP: tl.constexpr, CHUNKS: tl.constexpr, WORDS: tl.constexpr, GROUPS: tl.constexpr,
          LANES: tl.constexpr, EARLY: tl.constexpr):
    """Play one stage for a token of each lane, of which programs along the second axis have one.

    Parameters
    ----------
    body, parameters, keep, pre, next_gains, next_stride
        Of this stage, see `weights.Stage`.
    vectors, words
        Stage vectors, int32 [lanes, words].
    vector_at, residual_at, out_at
        Where in these the input vector, x and the output vector are.
    gains, gain_stride
        Of the stage before.
    statistics, statistics_length
        int64 [lanes, statistics_length], zero before.
    statistics_at, next_at
        Where in these those of the input and of the output are.
    state, size, sides, places
        See `state_of`: of this layer, and of each lane.
    kept
        int32 [lanes]; where it is 0 the state stays as it is.
    head_scale
        int64 [lanes, 8], mantissa and at 4 shift of the logits (HEAD).
    table
        `elements.SIGMOID_TABLE`.
    columns, rows, group_words, groups
        Of this stage, see `weights.Stage`.
    OP
        What the stage does.
    CHUNKS, WORDS
        Words of a row group that are met at once, and how often.
    GROUPS, LANES
        Row groups of a program; tokens.
    EARLY
        Whether the kernel may start before the one before has ended (programmatic dependent launch,
        Hopper and later).
    """
    P: tl.constexpr = 3 if OP == MLGRU else (2 if OP == GLU else 1)
    VECTORS: tl.constexpr = 3 if OP == MLGRU else 1     # the input vector is quantised three ways
    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    _, element, inside, own_group, own_place = elements_of(tl.arange(0, 8 * GROUPS), rows, GROUPS)
    place = own_group * 8 + own_place
    lane = tl.program_id(1) if LANES > 1 else 0
    vectors += lane * words
    statistics += lane * statistics_length
    own = vectors + element

    # What does not depend on the stage before is on its way while that still runs.
    index = tl.arange(0, 4)
    numbers = constants(parameters, index)
    parts0 = _trits(body, group_words, group, groups, P, 0, CHUNKS, WORDS)
    gains0 = _columns(gains, columns, CHUNKS, WORDS)
    fraction = tl.load(parameters + 12).to(tl.int32)
    if P > 1:
        parts1 = _trits(body, group_words, group, groups, P, 1, CHUNKS, WORDS)
        gains1 = gains0
    if P > 2:
        parts2 = _trits(body, group_words, group, groups, P, 2, CHUNKS, WORDS)
        gains1 = _columns(gains + gain_stride, columns, CHUNKS, WORDS)
        gains2 = _columns(gains + 2 * gain_stride, columns, CHUNKS, WORDS)
        fraction1 = tl.load(parameters + 13).to(tl.int32)
        bound = tl.load(keep + element, inside, 0).to(tl.int32) & 0xFFFF
        here, there = state_of(state, size, sides, tl.load(places + lane))
        goes_on = tl.load(kept + lane) != 0
    before = element
    if OP == MLGRU or OP == RESIDUAL:
        before = tl.load(pre + element, inside, 0)
    if OP != HEAD:
        peak_gains = loaded(next_gains, next_stride, element, inside, 3 if OP == RESIDUAL else 1)
    old, new, y1, y2 = element, element, element, element
    if OP == MLGRU:
        old = tl.load(here + element, inside, 0)
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()

    amax = tl.load(statistics + statistics_at + PEAKS + tl.minimum(index, VECTORS - 1))
    # A tensor, like `amax`: the same four times.
    parts = loaded_parts(statistics + statistics_at + (index >> 2))
    vector = _columns(vectors + vector_at, columns, CHUNKS, WORDS)
    if OP == RESIDUAL:
        old = tl.load(own + residual_at, inside, 0)
    lengths, factors = bit_length(amax), reciprocal(amax)
    mantissa, shift = scales(parts, amax, numbers)
    acc = _projection(parts0, vector, gains0, lengths, factors, place, 0, CHUNKS)
    if OP == HEAD:
        tl.store(own + out_at, acc, inside)
        if tl.program_id(0) == 0:
            tl.store(head_scale + 8 * lane + index, mantissa, index == 0)
            tl.store(head_scale + 8 * lane + 4 + index, shift, index == 0)
    else:
        y0 = _dequantised(acc, mantissa, shift, 0)
        if P > 1:
            acc = _projection(parts1, vector, gains1, lengths, factors, place, 1, CHUNKS)
            y1 = _dequantised(acc, mantissa, shift, 1)
        if P > 2:
            acc = _projection(parts2, vector, gains2, lengths, factors, place, 2, CHUNKS)
            y2 = _dequantised(acc, mantissa, shift, 2)
            new = recur(old, silu(y0, fraction, table) << 6,
                        opened(y1, bound, fraction1, table))
            tl.store(there + element, new, inside & goes_on)
        v, first = formed(OP, y0, y1, y2, old, new, fraction, table)
        v, first = tl.where(inside, v, 0), tl.where(inside, first, 0)
        tl.store(own + out_at, v, inside)
        out = statistics + next_at + tl.zeros([1, 1], tl.int32)
        account(OP, out, v, first, before, peak_gains, 1)
