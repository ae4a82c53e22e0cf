"""Five trits in a signed byte whose digits fall out as carries of a multiplication by three.

The tape's code suits a decoder made of gates (`tritstream.image.trits`). On a GPU the same 1.6 bits
per trit are kept as the balanced ternary fraction s = round(256 v / 243) with
v = 81 t0 + 27 t1 + 9 t2 + 3 t3 + t4, for then

    3 s_n = 256 t_n + s_{n+1},    s_{n+1} = the signed low byte of 3 s_n,    s_0 = s:

tripling a byte pushes out the next trit and leaves the rest. And no trit need ever be seen: with
S_n = sum over columns of s_n q, a dot product of bytes, the row sums are

    sum of t_n q = (3 S_n - S_{n+1}) / 256,

six dot products for five rows, exactly. Tripling four bytes in a word takes five instructions.
"""

import numpy as np
import triton
import triton.language as tl

from tritstream.image.trits import DECODE, VALID

__all__ = ["FRACTIONS", "INTERPRETED", "dot4", "stack8", "stack_place", "stacked_rows", "triple",
           "triple_bytes"]

FRACTIONS = np.where(VALID, np.rint(DECODE @ np.array([81, 27, 9, 3, 1]) * 256 / 243),
                     0).astype(np.int8)
"""The signed byte for each byte of the tape; bytes that mean nothing become zeros."""

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""Whether kernels run in Triton's interpreter, which has no machine instructions."""

EVEN = tl.constexpr(0x00FF00FF)
ODD = tl.constexpr(-0x00FF0100)         # 0xFF00FF00


@triton.jit
def triple(words):
    """Three times each of the four bytes of int32 words, modulo 256."""
    return (((words & EVEN) * 3) & EVEN) | (((words & ODD) * 3) & ODD)


@triton.jit
def triple_bytes(values):
    """Three times each int8, modulo 256; four of them lie in a register of a GPU."""
    if INTERPRETED:
        return values * 3
    return tl.inline_asm_elementwise("""
        {
        .reg .b32 even, odd;
        and.b32 even, $1, 0x00FF00FF;
        and.b32 odd, $1, 0xFF00FF00;
        mul.lo.u32 even, even, 3;
        mul.lo.u32 odd, odd, 3;
        lop3.b32 $0, even, odd, 0x00FF00FF, 0xE4;   // bits of even where the mask is 1
        }
        """, "=r,r", [values], dtype=tl.int8, is_pure=True, pack=4)


@triton.jit
def dot4(a, b, total):
    """Add the product sum of the four signed bytes of int32 `a` and `b` to `total`."""
    if INTERPRETED:
        for n in tl.static_range(4):
            total += ((a << (24 - 8 * n)) >> 24) * ((b << (24 - 8 * n)) >> 24)
        return total
    return tl.inline_asm_elementwise("dp4a.s32.s32 $0, $1, $2, $3;", "=r,r,r,r", [a, b, total],
                                     dtype=tl.int32, is_pure=True, pack=1)


@triton.jit
def stack8(a, b, c, d, e, f, g, h):
    """Stack eight tensors along three new axes of two, to be read as one: see `stack_place`."""
    left = tl.join(tl.join(a, b), tl.join(c, d))
    right = tl.join(tl.join(e, f), tl.join(g, h))
    return tl.join(left, right)


@triton.jit
def stack_place(place):
    """Return which of the eight tensors of `stack8` is at int32 `place` of an axis of 8.

    A join appends its axis, so the first pair ends up outermost: the bits are reversed.
    """
    return (place >> 2) | (place & 2) | ((place & 1) << 2)


@triton.jit
def stacked_rows(s0, s1, s2, s3, s4, s5):
    """Row sums of tensors of `s_n q`, with three new axes of two, see `stack_place`."""
    zero = tl.zeros_like(s0)
    return stack8((3 * s0 - s1) >> 8, (3 * s1 - s2) >> 8, (3 * s2 - s3) >> 8,
                  (3 * s3 - s4) >> 8, (3 * s4 - s5) >> 8, zero, zero, zero)
