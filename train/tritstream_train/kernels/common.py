"""Pieces that all kernels share: elementwise functions, the int8 quantiser, launch shapes.

Kernels compute in float32 whatever they load and store. A row is the vector of one token. What a
row is divided by before it is quantised cancels out of its codes; so kernels find the sums and the
maximum of the undivided row all at once, and their other sums follow from those.
"""

import functools

import torch
import triton
import triton.language as tl

__all__ = ["LINEAR_EPS", "combine3", "combine4", "load", "loop_launch", "matmul", "row_launch",
           "row_programs", "sigmoid", "silu", "silu_slope", "store_codes", "store_values"]

LINEAR_EPS = tl.constexpr(1e-6)     # of a BitLinear's own norm, whatever the config says
FLOOR = tl.constexpr(1e-5)          # of the absolute maximum that the quantiser divides by
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
WARP_COLUMNS = 256                  # of a row, to a warp: eight float32 to a thread
SM_COLUMNS = 4096                   # of all rows that a multiprocessor works on at a time


@triton.jit
def combine3(a0, b0, m0, a1, b1, m1):
    """Reduce two sums and a maximum at once."""
    return a0 + a1, b0 + b1, tl.maximum(m0, m1)


@triton.jit
def combine4(a0, b0, c0, m0, a1, b1, c1, m1):
    """Reduce three sums and a maximum at once."""
    return a0 + a1, b0 + b1, c0 + c1, tl.maximum(m0, m1)


@triton.jit
def sigmoid(x):
    """Compute `1 / (1 + exp(-x))` to three units in the last place."""
    if INTERPRETED:
        y = 1 / (1 + tl.exp(-x))
    else:
        # A third of the instructions of tl.sigmoid: nothing here minds a denormal taken for 0.
        y = tl.inline_asm_elementwise(
            """
            mul.f32 $0, $1, 0fBFB8AA3B;
            ex2.approx.ftz.f32 $0, $0;
            add.f32 $0, $0, 0f3F800000;
            rcp.approx.ftz.f32 $0, $0;
            """, "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    return y


@triton.jit
def silu(x):
    """Compute `x sigmoid(x)`."""
    return x * sigmoid(x)


@triton.jit
def silu_slope(x):
    """Derivative of `silu`."""
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


@triton.jit
def _step_and_inverse(amax):
    """What one of the codes -127 to 127 stands for, and the factor that makes codes of values."""
    amax = tl.maximum(amax, FLOOR)
    return amax / 127.0, 127.0 / amax


@triton.jit
def _rounded(v):
    """Nearest integer, half away from zero, as float32."""
    magnitude = tl.floor(tl.abs(v) + 0.5)
    return tl.where(v < 0, -magnitude, magnitude)


@triton.jit
def load(pointer, place, mask):
    """Load as float32; 0 where the mask is not set."""
    return tl.load(pointer + place, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_codes(y, amax, factor, codes, steps, row, place, mask):
    """Store the codes of a row `y`, which is still to be multiplied by `factor`, and its step."""
    step, inverse = _step_and_inverse(amax * factor)
    tl.store(codes + place, _rounded(y * (factor * inverse)).to(tl.int8), mask=mask)
    tl.store(steps + row, step)


@triton.jit
def store_values(y, amax, factor, values, place, mask):
    """Store what the codes of such a row stand for."""
    step, inverse = _step_and_inverse(amax * factor)
    value = _rounded(y * (factor * inverse)) * step
    tl.store(values + place, value.to(values.dtype.element_ty), mask=mask)


def row_launch(columns: int) -> dict:
    """Block and warps of a kernel in which a program holds a whole row."""
    block = triton.next_power_of_2(columns)
    return {"BLOCK": block, "num_warps": min(4, max(1, block // WARP_COLUMNS))}


def loop_launch(columns: int, inputs: int = 1) -> dict:
    """Block, warps and rows in flight of a kernel in which a program goes through many rows.

    With more than one gradient to read per row it takes twice the warps.
    """
    block = triton.next_power_of_2(columns)
    warps = 8 if block > 2048 else min(4, max(1, block // WARP_COLUMNS))
    return {"BLOCK": block, "num_warps": min(8, warps * (1 if inputs == 1 else 2)),
            "STAGES": 3 if block <= 4096 else 1}


def row_programs(x: torch.Tensor, columns: int, inputs: int = 1) -> int:
    """How many programs share the rows of `x`, adding up gradients of gains each over its own."""
    if x.device.type != "cuda":
        return min(len(x), 2)
    columns *= 1 if inputs == 1 else 2
    a_processor = min(16, max(1, SM_COLUMNS // triton.next_power_of_2(columns)))
    return min(len(x), a_processor * _multiprocessors(x.device))


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Product of two matrices in float32, of which bfloat16 inputs are only multiplied."""
    if a.dtype == torch.float32:
        return a @ b
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
