"""Pieces that all kernels share: elementwise functions, the int8 quantiser, launch shapes.

Kernels compute in float32 whatever they load and store. A row is the vector of one token.
"""

import torch
import triton
import triton.language as tl

__all__ = ["LINEAR_EPS", "matmul", "quantised", "row_launch", "row_programs", "silu",
           "silu_slope"]

LINEAR_EPS = tl.constexpr(1e-6)     # of a BitLinear's own norm, whatever the config says
FLOOR = tl.constexpr(1e-5)          # of the absolute maximum that the quantiser divides by
WARP_COLUMNS = 256                  # of a row, to a warp: eight float32 to a thread
PROGRAMS_PER_SM = 4                 # of kernels that sum over rows


@triton.jit
def silu(x):
    """Compute `x sigmoid(x)`."""
    return x * tl.sigmoid(x)


@triton.jit
def silu_slope(x):
    """Derivative of `silu`."""
    s = tl.sigmoid(x)
    return s * (1 + x * (1 - s))


@triton.jit
def quantised(y):
    """Codes -127 to 127 of a row as float32, half away from zero, and the step between them."""
    amax = tl.maximum(tl.max(tl.abs(y), axis=0), FLOOR)
    v = y * (127.0 / amax)
    codes = tl.where(v >= 0, tl.floor(v + 0.5), tl.ceil(v - 0.5))
    return codes, amax / 127.0


def row_launch(columns: int) -> dict:
    """Block and warps of a kernel in which a program holds a whole row."""
    block = triton.next_power_of_2(columns)
    return {"BLOCK": block, "num_warps": min(16, max(1, block // WARP_COLUMNS))}


def row_programs(x: torch.Tensor, rows: int) -> int:
    """How many programs share the rows, where each adds up gradients of gains over its own."""
    if x.device.type != "cuda":
        return min(rows, 2)
    sms = torch.cuda.get_device_properties(x.device).multi_processor_count
    return min(rows, PROGRAMS_PER_SM * sms)


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Product of two matrices in float32, of which bfloat16 inputs are only multiplied."""
    if a.dtype == torch.float32:
        return a @ b
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
