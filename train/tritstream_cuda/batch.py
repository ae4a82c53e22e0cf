"""Many tokens of one conversation at once.

A row is a token. Per stage there are two kernels: one ends the stage before and quantises each
row's vector, and one multiplies all rows with the packed trits on the tensor cores. The recurrence
goes over the tokens in a kernel of its own.
"""

import triton
import triton.language as tl

from tritstream_cuda.decode import row_of, state_of
from tritstream_cuda.digest import terms
from tritstream_cuda.elements import dequantise, gate, opened, quantise, recur, silu
from tritstream_cuda.scalars import bit_length, reciprocal
from tritstream_cuda.statistics import constants, parts_of, peaks, scales, sums
from tritstream_cuda.ternary import triple_bytes

__all__ = ["add_residual", "embed_rows", "matmul", "open_gates", "quantise_rows", "scan"]

EMBEDDING = tl.constexpr(0) # what `quantise_rows` finds: x itself,
SUMS = tl.constexpr(1)      # row sums that x grows by,
HIDDEN = tl.constexpr(2)    # state and g, or
PAIR = tl.constexpr(3)      # row sums of a and b

BYTES = tl.constexpr(64)    # columns of a product: row groups are padded to this


@triton.jit
def embed_rows(rows, row_bytes, tokens, out, hidden, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Write the embeddings of `tokens`, int32 [rows, hidden]."""
    row = tl.program_id(0)
    element = tl.arange(0, BLOCK)
    inside = element < hidden
    x = row_of(rows, row_bytes, tl.load(tokens + row), element, inside, WIDE)
    tl.store(out + row.to(tl.int64) * hidden + element, x, inside)


@triton.jit
def quantise_rows(first, second, x, old_factors, pre, gains, gain_stride, source_parameters,
                  parameters, table, acts, act_stride, act_vector, factors, powers, tail, totals,
                  columns,
                  SOURCE: tl.constexpr, VECTORS: tl.constexpr, BLOCK: tl.constexpr):
    """Finish the vector that a stage leaves, and quantise it for the next.

    Parameters
    ----------
    first, second
        int32 [rows, columns]: nothing, row sums and nothing, state and g, or row sums of a and b.
    x
        Residual, int32 [rows, columns]; row sums are added to it.
    old_factors
        Factors that belong to the row sums.
    pre, gains, gain_stride, source_parameters
        Of the stage that made them, see `weights.Stage`.
    parameters
        Of the stage that comes.
    acts, act_stride, act_vector
        int8 [VECTORS, rows, act_stride]; `act_vector` is the distance of vectors.
    factors
        int64 [rows, 8]: dequantiser mantissas, from 4 on shifts.
    powers, tail, totals
        For the digest, see `digest.add_terms`.
    table
        `elements.SIGMOID_TABLE`.
    columns
        Elements of the vector.
    SOURCE, VECTORS, BLOCK
        What is found; int8 vectors that are made; a power of two that covers `act_stride`.
    """
    row = tl.program_id(0)
    four = tl.arange(0, 4)
    element = tl.arange(0, BLOCK)
    inside = element < columns
    place = row.to(tl.int64) * columns + element
    if SOURCE == EMBEDDING:
        vector = tl.load(x + place, inside, 0)
        over = vector
    elif SOURCE == SUMS:
        vector = grown(x, first, old_factors, row, place, inside)
        tl.store(x + place, vector, inside)
        over = vector
    else:
        a, over = tl.load(first + place, inside, 0), tl.load(second + place, inside, 0)
        fraction = tl.load(source_parameters + 12).to(tl.int32)
        if SOURCE == HIDDEN:
            a = (a + 32) >> 6
        else:
            a = dequantised(a, old_factors, row, 0)
            over = dequantised(over, old_factors, row, 1)
        vector = tl.where(inside, gate(a, over, fraction, table), 0)
    power = tl.load(powers + tail + columns - element, inside, 0)
    total = tl.xor_sum(terms(vector, power), axis=0)
    tl.store(totals + 2 * row, tl.load(totals + 2 * row) ^ total)
    if SOURCE == PAIR:
        total = sums(vector[None, :], over[None, :], 0, False, False)
    else:
        total = sums(vector[None, :], over[None, :], tl.load(pre + element, inside, 0)[None, :],
                     True, True)
    amax = tl.zeros([4], tl.int64)
    for n in tl.static_range(VECTORS):
        gain = tl.load(gains + n * gain_stride + element, inside, 0)
        amax = tl.where(four >= n, peaks(vector[None, :], gain[None, :]), amax)
    mantissa, shift = scales(parts_of(total), amax, constants(parameters, four))
    tl.store(factors + row * 8 + four, mantissa)
    tl.store(factors + row * 8 + 4 + four, shift)
    length, factor = bit_length(amax), reciprocal(amax)
    for n in tl.static_range(VECTORS):
        gain = tl.load(gains + n * gain_stride + element, inside, 0)
        q = quantise(vector, gain, tl.sum(tl.where(four == n, length, 0), axis=0),
                     tl.sum(tl.where(four == n, factor, 0), axis=0))
        out = acts + n * act_vector + row.to(tl.int64) * act_stride + element
        tl.store(out, q.to(tl.int8), element < act_stride)


@triton.jit
def dequantised(acc, factors, row, projection):
    """Row sums of a token in their format, int32."""
    scale = factors + row * 8 + projection
    return dequantise(acc, tl.load(scale), tl.load(scale + 4))


@triton.jit
def grown(x, acc, factors, row, place, inside):
    """Residual with the row sums added, int32."""
    return tl.load(x + place, inside, 0) + dequantised(tl.load(acc + place, inside, 0), factors,
                                                       row, 0)


@triton.jit
def matmul(body, acts, act_stride, act_vector, out, plane, count, rows, groups, group_bytes,
           P: tl.constexpr, VECTORS: tl.constexpr, GROUPS: tl.constexpr, COUNT: tl.constexpr,
           PARTS: tl.constexpr):
    """Row sums of rows of int8 with packed trits.

    Parameters
    ----------
    body
        Trits as signed bytes, see `ternary`: int8 [groups, P, group_bytes].
    acts, act_stride, act_vector
        From `quantise_rows`.
    out, plane
        int32 [P, count, rows], `plane` from one projection to the next.
    count, rows, groups, group_bytes
        Tokens, elements of an output vector, row groups of a projection and their bytes.
    P, VECTORS
        Projections, and int8 vectors that they share.
    GROUPS, COUNT, PARTS
        Row groups and tokens of a program, and parts of the columns that its warps share out: few
        programs have to be quick each.
    """
    projection = tl.program_id(2)
    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    token = tl.program_id(1) * COUNT + tl.arange(0, COUNT)
    byte = tl.arange(0, PARTS)[:, None, None] * BYTES
    if VECTORS > 1:
        acts += projection.to(tl.int64) * act_vector
    left = body + (tl.minimum(group, groups - 1) * P + projection)[None, :, None] * group_bytes
    left += byte + tl.arange(0, BYTES)[None, None, :]
    right = acts + tl.minimum(token, count - 1).to(tl.int64)[None, None, :] * act_stride
    right += byte + tl.arange(0, BYTES)[None, :, None]
    s0 = tl.zeros([PARTS, GROUPS, COUNT], tl.int32)
    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
    for start in range(0, group_bytes, BYTES * PARTS):
        inside = start + byte < group_bytes
        part = tl.load(left + start, inside, 0)
        q = tl.load(right + start, inside, 0)
        s0 = tl.dot(part, q, s0, out_dtype=tl.int32)
        part = triple_bytes(part)
        s1 = tl.dot(part, q, s1, out_dtype=tl.int32)
        part = triple_bytes(part)
        s2 = tl.dot(part, q, s2, out_dtype=tl.int32)
        part = triple_bytes(part)
        s3 = tl.dot(part, q, s3, out_dtype=tl.int32)
        part = triple_bytes(part)
        s4 = tl.dot(part, q, s4, out_dtype=tl.int32)
        part = triple_bytes(part)
        s5 = tl.dot(part, q, s5, out_dtype=tl.int32)
    first = group[:, None] * 5
    known = (token < count)[None, :]
    place = out + projection.to(tl.int64) * plane + token.to(tl.int64)[None, :] * rows + first
    tl.store(place, tl.sum((3 * s0 - s1) >> 8, axis=0), known & (first < rows))
    tl.store(place + 1, tl.sum((3 * s1 - s2) >> 8, axis=0), known & (first + 1 < rows))
    tl.store(place + 2, tl.sum((3 * s2 - s3) >> 8, axis=0), known & (first + 2 < rows))
    tl.store(place + 3, tl.sum((3 * s3 - s4) >> 8, axis=0), known & (first + 3 < rows))
    tl.store(place + 4, tl.sum((3 * s4 - s5) >> 8, axis=0), known & (first + 4 < rows))


@triton.jit
def add_residual(x, acc, factors, rows, BLOCK: tl.constexpr):
    """Add row sums int32 [count, rows] to the residual: what `quantise_rows` does on its way."""
    row = tl.program_id(0)
    element = tl.arange(0, BLOCK)
    place = row.to(tl.int64) * rows + element
    inside = element < rows
    tl.store(x + place, grown(x, acc, factors, row, place, inside), inside)


@triton.jit
def open_gates(planes, plane, factors, keep, parameters, table, rows, BLOCK: tl.constexpr):
    """Make of row sums of i, f and g the update `silu(i) << 6`, the openness of the gate, and g.

    `planes` is int32 [3, count, rows], `plane` from one to the next; they change in place.
    """
    row = tl.program_id(1)
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < rows
    place = planes + row.to(tl.int64) * rows + element
    i = dequantised(tl.load(place, inside, 0), factors, row, 0)
    f = dequantised(tl.load(place + plane, inside, 0), factors, row, 1)
    g = dequantised(tl.load(place + 2 * plane, inside, 0), factors, row, 2)
    kept = tl.load(keep + element, inside, 0).to(tl.int32) & 0xFFFF
    update = silu(i, tl.load(parameters + 12).to(tl.int32), table) << 6
    openness = opened(f, kept, tl.load(parameters + 13).to(tl.int32), table)
    tl.store(place, update, inside)
    tl.store(place + plane, openness, inside)
    tl.store(place + 2 * plane, g, inside)


@triton.jit
def scan(planes, plane, state, size, sides, place, steps, hidden, BLOCK: tl.constexpr):
    """Run the recurrence over the tokens.

    Parameters
    ----------
    planes, plane
        int32 [3, steps, hidden] from `open_gates`; the first plane, the update, becomes the state
        after each token.
    state, size, sides, place
        See `decode.state_of`, of this layer; `place` is int32 [1], and its state changes in place.
    steps, hidden
        Tokens, elements of a state.
    BLOCK
        Elements of a program.
    """
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < hidden
    own, _ = state_of(state, size, sides, tl.load(place))
    h = tl.load(own + element, inside, 0)
    planes += element
    for step in tl.range(0, steps, num_stages=4):
        update = tl.load(planes + step * hidden, inside, 0)
        openness = tl.load(planes + plane + step * hidden, inside, 0)
        h = recur(h, update, openness)
        tl.store(planes + step * hidden, h, inside)
    tl.store(own + element, h, inside)
