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
    dequantise,
    opened,
    quantise,
    recur,
    silu,
)
from tritstream_cuda.scalars import bit_length, reciprocal
from tritstream_cuda.statistics import PEAKS, constants, loaded_parts, packed, scales, unpacked
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
        gdc_launch_dependents()     # before anything is known: they have trits to load meanwhile
        gdc_wait()
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
def _tripled(trits):
    """Triple bytes again and again: what `ternary` calls `s_0` to `s_5`."""
    s1 = triple_bytes(trits)
    s2 = triple_bytes(s1)
    s3 = triple_bytes(s2)
    s4 = triple_bytes(s3)
    return trits, s1, s2, s3, s4, triple_bytes(s4)


@triton.jit
def _trits(body, group_bytes, group, groups, P: tl.constexpr, INDEX: tl.constexpr,
           PARTS: tl.constexpr, STEPS: tl.constexpr, BYTES: tl.constexpr, AHEAD: tl.constexpr):
    """Load a projection's trits of some row groups: `STEPS` tensors int8 [PARTS, BYTES, GROUPS].

    With `AHEAD` each is already `_tripled`.
    """
    found = ()
    byte = tl.arange(0, PARTS)[:, None, None] * BYTES
    row = body + (tl.minimum(group, groups - 1) * P + INDEX)[None, None, :] * group_bytes
    row += byte + tl.arange(0, BYTES)[None, :, None]
    for step in tl.static_range(STEPS):
        start = step * BYTES * PARTS
        part = tl.load(row + start, start + byte < group_bytes, 0)
        if AHEAD:
            found = found + (_tripled(part),)
        else:
            found = found + (part,)
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
def _products(acts, trits, LANES: tl.constexpr, GROUPS: tl.constexpr, PARTS: tl.constexpr,
              STEPS: tl.constexpr, AHEAD: tl.constexpr):
    """Meet the trits of a projection, from `_trits`, with the vectors; each warp has a part.

    Six tensors int32 [PARTS, LANES, GROUPS]: what `ternary` calls `S_0` to `S_5`.
    """
    s0 = tl.zeros([PARTS, LANES, GROUPS], tl.int32)
    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
    for step in tl.static_range(STEPS):
        q, part = acts[step], trits[step]
        if not AHEAD:
            part = _tripled(part)
        s0 = tl.dot(q, part[0], s0, out_dtype=tl.int32)
        s1 = tl.dot(q, part[1], s1, out_dtype=tl.int32)
        s2 = tl.dot(q, part[2], s2, out_dtype=tl.int32)
        s3 = tl.dot(q, part[3], s3, out_dtype=tl.int32)
        s4 = tl.dot(q, part[4], s4, out_dtype=tl.int32)
        s5 = tl.dot(q, part[5], s5, out_dtype=tl.int32)
    return s0, s1, s2, s3, s4, s5


@triton.jit
def _rows(s, place, PARTS: tl.constexpr):
    """Row sums of what `_products` gave, int32, each where `place` says."""
    SIZE: tl.constexpr = 8 * s[0].numel // PARTS
    parts = tl.reshape(stacked_rows(s[0], s[1], s[2], s[3], s[4], s[5]), [PARTS * SIZE])
    # A gather brings the parts of an element to one thread.
    return tl.sum(tl.reshape(tl.gather(parts, place, 0), [PARTS, SIZE]), axis=0)


@triton.jit
def _dequantised(acc, scales_of_lanes, lane, INDEX: tl.constexpr):
    """Scale the row sums of a projection; `scales_of_lanes` are from `packed`."""
    mantissa, shift = unpacked(tl.gather(scales_of_lanes, 4 * lane + INDEX, 0))
    return dequantise(acc, mantissa, shift)


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
          PARTS: tl.constexpr, STEPS: tl.constexpr, BYTES: tl.constexpr, AHEAD: tl.constexpr,
          EARLY: tl.constexpr):
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
    AHEAD
        Whether trits are tripled while the stage before still runs: they take six times the
        registers until then.
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

    # What does not depend on the stage before is done while that still runs.
    index = tl.arange(0, 4 * LANES)         # of the numbers of all lanes, four of each
    numbers = constants(parameters, index & 3)
    trits0 = _trits(body, act_stride, group, groups, P, 0, PARTS, STEPS, BYTES, AHEAD)
    fraction = tl.load(parameters + 12).to(tl.int32)
    if P > 1:
        trits1 = _trits(body, act_stride, group, groups, P, 1, PARTS, STEPS, BYTES, AHEAD)
    if P > 2:
        trits2 = _trits(body, act_stride, group, groups, P, 2, PARTS, STEPS, BYTES, AHEAD)
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

    q0 = _acts(acts, act_stride, LANES, PARTS, STEPS, BYTES)
    q1, q2 = q0, q0
    if VECTORS > 1:
        q1 = _acts(acts + act_vector, act_stride, LANES, PARTS, STEPS, BYTES)
        q2 = _acts(acts + 2 * act_vector, act_stride, LANES, PARTS, STEPS, BYTES)
    statistics_of = statistics + (index >> 2) * statistics_length + statistics_at
    amax = tl.load(statistics_of + PEAKS + tl.minimum(index & 3, VECTORS - 1))
    parts = loaded_parts(statistics_of)
    if OP == RESIDUAL:
        old = tl.load(own + residual_at, inside, 0)
    # Nothing in this waits for the scales, whose computation takes as long.
    s = _products(q0, trits0, LANES, GROUPS, PARTS, STEPS, AHEAD)
    mantissa, shift = scales(parts, amax, numbers)
    scales_of_lanes = packed(mantissa, shift)
    acc = _rows(s, place, PARTS)
    if OP == HEAD:
        tl.store(own + out_at, acc, inside)
        if tl.program_id(0) == 0:
            scale = head_scale + (index >> 2) * 8
            tl.store(scale, mantissa, (index & 3) == 0)
            tl.store(scale + 4, shift, (index & 3) == 0)
    else:
        y0 = _dequantised(acc, scales_of_lanes, lane, 0)
        if P > 1:
            s = _products(q1, trits1, LANES, GROUPS, PARTS, STEPS, AHEAD)
            y1 = _dequantised(_rows(s, place, PARTS), scales_of_lanes, lane, 1)
        if P > 2:
            s = _products(q2, trits2, LANES, GROUPS, PARTS, STEPS, AHEAD)
            y2 = _dequantised(_rows(s, place, PARTS), scales_of_lanes, lane, 2)
            new = _recurred(old, silu(y0, fraction, table) << 6,
                            opened(y1, bound, fraction1, table), firsts, LANES, RAGGED)
            tl.store(there + element, new, inside & goes_on)
        v, first = formed(OP, y0, y1, y2, old, new, fraction, table)
        v, first = tl.where(inside, v, 0), tl.where(inside, first, 0)
        tl.store(own + out_at, v, inside)
        out = statistics + tl.arange(0, LANES)[:, None] * statistics_length + next_at
        account(OP, out, v, first, before, peak_gains, LANES)
