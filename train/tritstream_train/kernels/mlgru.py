"""The MLGRU's gates and recurrence in parallel over chunks of the sequence (paper, section 3.3.1).

`F = bound + (1 - bound) sigmoid(f)` and `h[t] = F h[t-1] + (1 - F) silu(i)`. A chunk turns the
state that enters it into `decay * state + last`: one pass finds both numbers for all chunks at
once, an associative scan over the few chunks gives each its entering state, and a second pass
writes the states. The gates are cheap and computed again in every pass; nothing but the entering
states is kept for the backward pass, which has the same three steps in the other direction.
"""

import torch
import triton
import triton.language as tl

from tritstream_train.kernels.common import load, sigmoid, silu, silu_slope

__all__ = ["mlgru", "mlgru_backward", "mlgru_states"]

CHUNK = 32                  # tokens, as long as there are no more than MAX_CHUNKS
MAX_CHUNKS = 128            # chunks that one program scans
BLOCK = 128                 # channels of a program: one warp, four each
CARRY_BLOCK = 16            # channels of a program that scans over the chunks


@triton.jit
def _gate(f, bound):
    share = sigmoid(f)
    return bound + (1 - bound) * share, share


@triton.jit
def _place(columns, BLOCK: tl.constexpr):
    """Channels of this program, and which of them exist."""
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return column, column < columns


@triton.jit
def _ends_kernel(i, f, bound, decay, last, tokens, columns, chunk, BLOCK: tl.constexpr):
    column, mask = _place(columns, BLOCK)
    sequence = tl.program_id(2).to(tl.int64)
    start = tl.program_id(1) * chunk
    low = load(bound, column, mask)
    h = tl.zeros((BLOCK,), tl.float32)
    product = tl.full((BLOCK,), 1.0, tl.float32)
    for t in range(start, min(start + chunk, tokens)):
        place = (sequence * tokens + t) * columns + column
        forget, _ = _gate(load(f, place, mask), low)
        h = forget * h + (1 - forget) * silu(load(i, place, mask))
        product *= forget
    place = (sequence * tl.num_programs(1) + tl.program_id(1)) * columns + column
    tl.store(decay + place, product, mask=mask)
    tl.store(last + place, h, mask=mask)


@triton.jit
def _compose(decay0, last0, decay1, last1):
    return decay0 * decay1, last0 * decay1 + last1


@triton.jit
def _carry_kernel(decay, last, state, carry, chunks, columns, STATE: tl.constexpr,
                  CHUNKS: tl.constexpr, BLOCK: tl.constexpr):
    column, mask = _place(columns, BLOCK)
    sequence = tl.program_id(1).to(tl.int64)
    first = tl.zeros((BLOCK,), tl.float32)
    if STATE:
        first = tl.load(state + sequence * columns + column, mask=mask, other=0.0)
    carry += sequence * (chunks + 1) * columns
    tl.store(carry + column, first, mask=mask)
    number = tl.arange(0, CHUNKS)[:, None]
    there = (number < chunks) & mask[None, :]
    place = (sequence * chunks + number) * columns + column[None, :]
    product = tl.load(decay + place, mask=there, other=1.0)
    value = tl.load(last + place, mask=there, other=0.0)
    value = tl.where(number == 0, product * first[None, :] + value, value)
    _, value = tl.associative_scan((product, value), 0, _compose)
    tl.store(carry + (number + 1) * columns + column[None, :], value, mask=there)


@triton.jit
def _states_kernel(i, f, bound, carry, h, tokens, columns, chunk, BLOCK: tl.constexpr):
    column, mask = _place(columns, BLOCK)
    sequence = tl.program_id(2).to(tl.int64)
    start = tl.program_id(1) * chunk
    low = load(bound, column, mask)
    entering = (sequence * (tl.num_programs(1) + 1) + tl.program_id(1)) * columns + column
    state = load(carry, entering, mask)
    for t in range(start, min(start + chunk, tokens)):
        place = (sequence * tokens + t) * columns + column
        forget, _ = _gate(load(f, place, mask), low)
        state = forget * state + (1 - forget) * silu(load(i, place, mask))
        tl.store(h + place, state.to(h.dtype.element_ty), mask=mask)


@triton.jit
def _adjoint_ends_kernel(f, dh, bound, decay, last, tokens, columns, chunk, BLOCK: tl.constexpr):
    """As `_ends_kernel` from the last token to the first; chunks are numbered from the end."""
    column, mask = _place(columns, BLOCK)
    sequence = tl.program_id(2).to(tl.int64)
    chunks = tl.num_programs(1)
    start = (chunks - 1 - tl.program_id(1)) * chunk
    end = min(start + chunk, tokens)
    low = load(bound, column, mask)
    message = tl.zeros((BLOCK,), tl.float32)
    product = tl.full((BLOCK,), 1.0, tl.float32)
    for back in range(0, end - start):
        place = (sequence * tokens + end - 1 - back) * columns + column
        forget, _ = _gate(load(f, place, mask), low)
        message = forget * (message + load(dh, place, mask))
        product *= forget
    place = (sequence * chunks + tl.program_id(1)) * columns + column
    tl.store(decay + place, product, mask=mask)
    tl.store(last + place, message, mask=mask)


@triton.jit
def _gradients_kernel(i, f, h, dh, bound, carry, messages, di, df, partial, tokens, columns, chunk,
                      BLOCK: tl.constexpr):
    column, mask = _place(columns, BLOCK)
    sequence = tl.program_id(2).to(tl.int64)
    chunks = tl.num_programs(1)
    number = chunks - 1 - tl.program_id(1)
    start = number * chunk
    end = min(start + chunk, tokens)
    low = load(bound, column, mask)
    row = sequence * (chunks + 1)
    message = load(messages, (row + tl.program_id(1)) * columns + column, mask)
    entering = load(carry, (row + number) * columns + column, mask)
    dlow = tl.zeros((BLOCK,), tl.float32)
    border = tl.zeros((BLOCK,), tl.int32) + start
    for back in range(0, end - start):
        t = end - 1 - back
        place = (sequence * tokens + t) * columns + column
        forget, share = _gate(load(f, place, mask), low)
        x = load(i, place, mask)
        inside = border < t
        before = tl.where(inside, load(h, place - columns, mask & inside), entering)
        adjoint = message + load(dh, place, mask)
        message = forget * adjoint
        dforget = adjoint * (before - silu(x))
        dx = adjoint * (1 - forget) * silu_slope(x)
        tl.store(di + place, dx.to(di.dtype.element_ty), mask=mask)
        slope = dforget * (1 - share)
        dlow += slope
        slope *= (1 - low) * share
        tl.store(df + place, slope.to(df.dtype.element_ty), mask=mask)
    place = (sequence * chunks + number) * columns + column
    tl.store(partial + place, dlow, mask=mask)


def _chunking(tokens: int) -> tuple[int, int]:
    """Tokens in a chunk, and how many chunks there are."""
    chunk = max(CHUNK, triton.next_power_of_2(triton.cdiv(tokens, MAX_CHUNKS)))
    return chunk, triton.cdiv(tokens, chunk)


def _carries(decay, last, state):
    """States that enter every chunk, and leave the last: [B, chunks + 1, H]."""
    batch, chunks, columns = decay.shape
    carry = torch.empty(batch, chunks + 1, columns, device=decay.device)
    _carry_kernel[(triton.cdiv(columns, CARRY_BLOCK), batch)](
        decay, last, last if state is None else state, carry, chunks, columns,
        STATE=state is not None, CHUNKS=triton.next_power_of_2(chunks), BLOCK=CARRY_BLOCK,
        num_warps=2)
    return carry


def _grid(batch, chunks, columns):
    return triton.cdiv(columns, BLOCK), chunks, batch


def mlgru(i, f, bound, state=None):
    """States after every token.

    Parameters
    ----------
    i, f : Tensor
        Results of both projections, [B, T, H].
    bound : Tensor
        Lower bounds of the forget gates, float32 [H].
    state : Tensor, optional
        Before the first token, float32 [B, H]; zeros without it.

    Returns
    -------
    h : Tensor
        [B, T, H] in the type of `i`.
    carry : Tensor
        States at the borders of chunks, float32 [B, chunks + 1, H]; the last is the final state.
    """
    batch, tokens, columns = i.shape
    chunk, chunks = _chunking(tokens)
    decay = torch.empty(batch, chunks, columns, device=i.device)
    last = torch.empty_like(decay)
    grid = _grid(batch, chunks, columns)
    _ends_kernel[grid](i, f, bound, decay, last, tokens, columns, chunk, BLOCK=BLOCK, num_warps=1)
    carry = _carries(decay, last, state)
    return mlgru_states(i, f, bound, carry), carry


def mlgru_states(i, f, bound, carry):
    """Compute the states of `mlgru` again from those at the borders of chunks."""
    batch, tokens, columns = i.shape
    chunk, chunks = _chunking(tokens)
    h = torch.empty_like(i)
    _states_kernel[_grid(batch, chunks, columns)](
        i, f, bound, carry, h, tokens, columns, chunk, BLOCK=BLOCK, num_warps=1)
    return h


def mlgru_backward(i, f, h, dh, bound, carry, di, df):
    """Gradients of `mlgru`.

    Parameters
    ----------
    i, f, bound : Tensor
        As for `mlgru`.
    h, carry : Tensor
        Its results.
    dh : Tensor
        Gradient of `h`, [B, T, H].
    di, df : Tensor
        Filled with the gradients of `i` and `f`, [B, T, H].

    Returns
    -------
    Tensor
        Gradient of `bound`, float32 [H].
    """
    batch, tokens, columns = i.shape
    chunk, chunks = _chunking(tokens)
    decay = torch.empty(batch, chunks, columns, device=i.device)
    last = torch.empty_like(decay)
    grid = _grid(batch, chunks, columns)
    _adjoint_ends_kernel[grid](f, dh, bound, decay, last, tokens, columns, chunk, BLOCK=BLOCK,
                               num_warps=1)
    messages = _carries(decay, last, None)
    partial = torch.empty_like(decay)
    _gradients_kernel[grid](i, f, h, dh, bound, carry, messages, di, df, partial, tokens, columns,
                            chunk, BLOCK=BLOCK, num_warps=1)
    return partial.sum((0, 1))
