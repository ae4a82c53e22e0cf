"""Pieces that all kernels share: elementwise functions, the int8 quantiser, launch shapes.

Kernels compute in float32 whatever they load and store. A row is the vector of one token.
"""

import functools

import torch
import triton
import triton.language as tl

__all__ = ["LINEAR_EPS", "loop_launch", "matmul", "quantised", "row_launch", "row_programs", "silu",
           "silu_slope"]

LINEAR_EPS = tl.constexpr(1e-6)     # of a BitLinear's own norm, whatever the config says
FLOOR = tl.constexpr(1e-5)          # of the absolute maximum that the quantiser divides by
WARP_COLUMNS = 256                  # of a row, to a warp: eight float32 to a thread
SM_COLUMNS = 4096                   # of all rows that a multiprocessor works on at a time


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
    magnitude = tl.floor(tl.abs(v) + 0.5)
    return tl.where(v < 0, -magnitude, magnitude), amax / 127.0


def row_launch(columns: int) -> dict:
    """Block and warps of a kernel in which a program holds a whole row."""
    block = triton.next_power_of_2(columns)
    return {"BLOCK": block, "num_warps": min(4, max(1, block // WARP_COLUMNS))}


def loop_launch(columns: int) -> dict:
    """Block, warps and rows in flight of a kernel in which a program goes through many rows."""
    block = triton.next_power_of_2(columns)
    warps = 8 if block > 2048 else min(4, max(1, block // WARP_COLUMNS))
    return {"BLOCK": block, "num_warps": warps, "STAGES": 3 if block <= 4096 else 2}


def row_programs(x: torch.Tensor, columns: int) -> int:
    """How many programs share the rows of `x`, adding up gradients of gains each over its own."""
    if x.device.type != "cuda":
        return min(len(x), 2)
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
