"""A token each of several conversations: two kernels for each stage.

The first quantises the input vectors of all lanes, as their statistics say; the second meets them
with the packed trits on the tensor cores, finishes the elements, and adds their part to the
statistics of the outputs with integer atomics. So the weights are read once for all lanes.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from tritstream_cuda.decode import (
    GLU,
    HEAD,
    MLGRU,
    RESIDUAL,
    account,
    elements_of,
    formed,
    loaded,
    state_of,
)
from tritstream_cuda.elements import (
    dequantise_ready,
    opened,
    quantise,
    ready,
    recur,
    silu,
)
from tritstream_cuda.scalars import bit_length, reciprocal
from tritstream_cuda.statistics import PEAKS, constants, loaded_parts, scales
from tritstream_cuda.ternary import stacked_rows, triple_bytes

__all__ = ["quantise_lanes", "stage"]

@triton.jit
def quantise_lanes(vectors, words, vector_at, gains, gain_stride, statistics, statistics_length,
                   statistics_at, acts, act_stride, act_vector, columns,
                   VECTORS: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr):
    """Quantise each lane's input vector.

    Parameters
    ----------
    vectors, words, vector_at, gains, gain_stride, statistics, statistics_length, statistics_at
        As for `decode.stage`.
    acts, act_stride, act_vector
        int8 [VECTORS, lanes, act_stride]; `act_vector` is the distance of vectors.
    columns
        Elements of a vector.
    VECTORS, BLOCK
        int8 vectors that are made of it; elements of a program.
    EARLY
        See `decode.stage`.
    """
    lane = tl.program_id(0)
    element = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = element < columns
    four = tl.arange(0, 4)
    own = loaded(gains, gain_stride, element, inside, VECTORS)
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()
    vector = tl.load(vectors + lane * words + vector_at + element, inside, 0)
    amax = tl.load(statistics + lane * statistics_length + statistics_at + PEAKS
                   + tl.minimum(four, VECTORS - 1))
    length, factor = bit_length(amax), reciprocal(amax)
    for n in tl.static_range(VECTORS):
        q = quantise(vector, own[n], tl.sum(tl.where(four == n, length, 0), axis=0),
                     tl.sum(tl.where(four == n, factor, 0), axis=0))
        tl.store(acts + n * act_vector + lane * act_stride + element, q.to(tl.int8),
                 element < act_stride)


@triton.jit
def _trits(body, group_bytes, group, groups, P: tl.constexpr, INDEX: tl.constexpr,
           PARTS: tl.constexpr, STEPS: tl.constexpr, BYTES: tl.constexpr):
    """Load a projection's trits of some row groups: `STEPS` tensors int8 [PARTS, BYTES, GROUPS]."""
    found = ()
    byte = tl.arange(0, PARTS)[:, None, None] * BYTES
    row = body + (tl.minimum(group, groups - 1) * P + INDEX)[None, None, :] * group_bytes
    row += byte + tl.arange(0, BYTES)[None, :, None]
    for step in tl.static_range(STEPS):
        start = step * BYTES * PARTS
        found = found + (tl.load(row + start, start + byte < group_bytes, 0),)
    return found


@triton.jit
def _acts(acts, act_stride, LANES: tl.constexpr, PARTS: tl.constexpr, STEPS: tl.constexpr,
          BYTES: tl.constexpr):
    """Load the quantised vectors: `STEPS` tensors int8 [PARTS, LANES, BYTES]."""
    found = ()
    byte = tl.arange(0, PARTS)[:, None, None] * BYTES
    row = acts + tl.arange(0, LANES)[None, :, None] * act_stride
    row += byte + tl.arange(0, BYTES)[None, None, :]
    for step in tl.static_range(STEPS):
        start = step * BYTES * PARTS
        found = found + (tl.load(row + start, start + byte < act_stride, 0),)
    return found


@triton.jit
def _projection(acts, trits, place, LANES: tl.constexpr, GROUPS: tl.constexpr,
                PARTS: tl.constexpr, STEPS: tl.constexpr):
    """Row sums of one projection, int32, each where `place` says."""
    s0 = tl.zeros([PARTS, LANES, GROUPS], tl.int32)
    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
    for step in tl.static_range(STEPS):
        q, part = acts[step], trits[step]
        s0 = tl.dot(q, part, s0, out_dtype=tl.int32)
        part = triple_bytes(part)
        s1 = tl.dot(q, part, s1, out_dtype=tl.int32)
        part = triple_bytes(part)
        s2 = tl.dot(q, part, s2, out_dtype=tl.int32)
        part = triple_bytes(part)
        s3 = tl.dot(q, part, s3, out_dtype=tl.int32)
        part = triple_bytes(part)
        s4 = tl.dot(q, part, s4, out_dtype=tl.int32)
        part = triple_bytes(part)
        s5 = tl.dot(q, part, s5, out_dtype=tl.int32)
    SIZE: tl.constexpr = 8 * GROUPS * LANES
    parts = tl.reshape(stacked_rows(s0, s1, s2, s3, s4, s5), [PARTS * SIZE])
    # Each warp has a part; a gather brings those of an element to one thread.
    return tl.sum(tl.reshape(tl.gather(parts, place, 0), [PARTS, SIZE]), axis=0)


@triton.jit
def _ready(mantissa, shift, lane, INDEX: tl.constexpr):
    """What `dequantise_ready` takes for each element of a projection."""
    shift = tl.gather(shift, 4 * lane + INDEX, 0)
    factor, half = ready(tl.gather(mantissa, 4 * lane + INDEX, 0), shift)
    return factor, half, shift


@triton.jit
def _recurred(old, update, openness, firsts, LANES: tl.constexpr, RAGGED: tl.constexpr):
    """States behind the token of each lane, int32 [LANES n].

    With `RAGGED` a lane goes on from the one before it, unless `firsts` says that it is the first
    of its conversation.
    """
    if not RAGGED:
        return recur(old, update, openness)
    SIZE: tl.constexpr = old.numel // LANES
    lane = tl.arange(0, LANES)[:, None]
    old = tl.reshape(old, [LANES, SIZE])
    update, openness = tl.reshape(update, [LANES, SIZE]), tl.reshape(openness, [LANES, SIZE])
    new = old
    for at in range(LANES):
        before = tl.sum(tl.where(lane == at - 1, new, 0), axis=0)[None, :]
        h = tl.where(tl.load(firsts + at) == at, old, before)
        new = tl.where(lane == at, recur(h, update, openness), new)
    return tl.reshape(new, [LANES * SIZE])


@triton.jit
def stage(body, parameters, acts, act_stride, act_vector, vectors, words, residual_at, out_at,
          statistics, statistics_length, statistics_at, next_at, keep, pre, next_gains, next_stride,
          state, size, sides, places, firsts, kept, head_scale, table, rows, groups,
          OP: tl.constexpr, LANES: tl.constexpr, RAGGED: tl.constexpr, GROUPS: tl.constexpr,
          PARTS: tl.constexpr, STEPS: tl.constexpr, BYTES: tl.constexpr, EARLY: tl.constexpr):
    """Play one stage for a token of each lane.

    Parameters
    ----------
    acts, act_stride, act_vector
        From `quantise_lanes`.
    firsts
        int32 [LANES], the lane that has the first token of the same conversation: lanes with
        several of its tokens stand side by side (RAGGED).
    kept
        int32 [LANES]; where it is 0 the state stays: of a conversation the last lane's goes on.
    GROUPS, PARTS, STEPS, BYTES
        Row groups of a program; parts of the columns that its warps share out, how often that is,
        and columns of a part.
    body, parameters, vectors, words, residual_at, out_at, statistics, statistics_length, \
    statistics_at, next_at, keep, pre, next_gains, next_stride, state, size, sides, places, \
    head_scale, table, rows, groups, OP, LANES, RAGGED, EARLY
        As for `decode.stage`.
    """
    P: tl.constexpr = 3 if OP == MLGRU else (2 if OP == GLU else 1)
    VECTORS: tl.constexpr = 3 if OP == MLGRU else 1
    group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    SIZE: tl.constexpr = 8 * GROUPS * LANES
    lane, element, inside, _, _ = elements_of(tl.arange(0, SIZE), rows, GROUPS)
    index = tl.arange(0, PARTS * SIZE)
    part_lane, _, _, part_group, part_place = elements_of(index % SIZE, rows, GROUPS)
    place = ((index // SIZE * LANES + part_lane) * GROUPS + part_group) * 8 + part_place
    own = vectors + lane * words + element

    # What does not depend on the stage before is on its way while that still runs.
    index = tl.arange(0, 4 * LANES)         # of the numbers of all lanes, four of each
    numbers = constants(parameters, index & 3)
    trits0 = _trits(body, act_stride, group, groups, P, 0, PARTS, STEPS, BYTES)
    fraction = tl.load(parameters + 12).to(tl.int32)
    if P > 1:
        trits1 = _trits(body, act_stride, group, groups, P, 1, PARTS, STEPS, BYTES)
    if P > 2:
        trits2 = _trits(body, act_stride, group, groups, P, 2, PARTS, STEPS, BYTES)
        fraction1 = tl.load(parameters + 13).to(tl.int32)
        bound = tl.load(keep + element, inside, 0).to(tl.int32) & 0xFFFF
        here, there = state_of(state, size, sides, tl.load(places + lane))
        goes_on = tl.load(kept + lane) != 0
    before = element
    if OP == MLGRU or OP == RESIDUAL:
        before = tl.load(pre + element, inside, 0)
    if OP != HEAD:
        peak_gains = loaded(next_gains, next_stride, element, inside, 3 if OP == RESIDUAL else 1)
    # Statistics and x are from before the vectors were quantised.
    statistics_of = statistics + (index >> 2) * statistics_length + statistics_at
    amax = tl.load(statistics_of + PEAKS + tl.minimum(index & 3, VECTORS - 1))
    mantissa, shift = scales(loaded_parts(statistics_of), amax, numbers)
    old, new, y1, y2 = element, element, element, element
    if OP == RESIDUAL:
        old = tl.load(own + residual_at, inside, 0)
    if OP == MLGRU:
        old = tl.load(here + element, inside, 0)
    factor0, half0, shift0 = _ready(mantissa, shift, lane, 0)
    if P > 1:
        factor1, half1, shift1 = _ready(mantissa, shift, lane, 1)
    if P > 2:
        factor2, half2, shift2 = _ready(mantissa, shift, lane, 2)
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()

    q0 = _acts(acts, act_stride, LANES, PARTS, STEPS, BYTES)
    q1, q2 = q0, q0
    if VECTORS > 1:
        q1 = _acts(acts + act_vector, act_stride, LANES, PARTS, STEPS, BYTES)
        q2 = _acts(acts + 2 * act_vector, act_stride, LANES, PARTS, STEPS, BYTES)
    acc = _projection(q0, trits0, place, LANES, GROUPS, PARTS, STEPS)
    if OP == HEAD:
        tl.store(own + out_at, acc, inside)
        if tl.program_id(0) == 0:
            scale = head_scale + (index >> 2) * 8
            tl.store(scale, mantissa, (index & 3) == 0)
            tl.store(scale + 4, shift, (index & 3) == 0)
    else:
        y0 = dequantise_ready(acc, factor0, half0, shift0)
        if P > 1:
            acc = _projection(q1, trits1, place, LANES, GROUPS, PARTS, STEPS)
            y1 = dequantise_ready(acc, factor1, half1, shift1)
        if P > 2:
            acc = _projection(q2, trits2, place, LANES, GROUPS, PARTS, STEPS)
            y2 = dequantise_ready(acc, factor2, half2, shift2)
            new = _recurred(old, silu(y0, fraction, table) << 6,
                            opened(y1, bound, fraction1, table), firsts, LANES, RAGGED)
            tl.store(there + element, new, inside & goes_on)
        v, first = formed(OP, y0, y1, y2, old, new, fraction, table)
        v, first = tl.where(inside, v, 0), tl.where(inside, first, 0)
        tl.store(own + out_at, v, inside)
        out = statistics + tl.arange(0, LANES)[:, None] * statistics_length + next_at
        account(OP, out, v, first, before, peak_gains, LANES)
