"""Payloads as the gateware's shapes have them, and the bits that a port has of them.

With a layout, a dict goes in and a constant with fields comes out; an array of bytes is `bytes`; a
plain shape is a number. Without a shape a payload is the bits of the port, as a number.
"""

from collections.abc import Callable
from typing import Any

from amaranth import Shape
from amaranth.lib import data
from cocotb.handle import LogicArrayObject

__all__ = ["as_signed", "encoder", "packer", "unpacker"]


def as_signed(value: int, bits: int) -> int:
    """Read the low `bits` bits of `value` as two's complement."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def _is_bytes(shape) -> bool:
    return isinstance(shape, data.ArrayLayout) and Shape.cast(shape.elem_shape) == Shape(8)


def packer(shape) -> Callable[[Any], int]:
    """Return the function that makes bits of a payload."""
    if shape is None or isinstance(shape, Shape):
        return lambda value: value
    if _is_bytes(shape):
        return lambda value: int.from_bytes(value, "little")
    return lambda value: shape.const(value).as_bits()


def unpacker(shape) -> Callable[[int], Any]:
    """Return the inverse of `packer`."""
    if shape is None:
        return lambda bits: bits
    if isinstance(shape, Shape):
        return (lambda bits: as_signed(bits, shape.width)) if shape.signed else (lambda bits: bits)
    if _is_bytes(shape):
        return lambda bits: bits.to_bytes(shape.length, "little")
    return shape.from_bits


def encoder(handle) -> Callable[[int], int]:
    """Return the function that makes of bits or a number what cocotb accepts for this port."""
    if not isinstance(handle, LogicArrayObject):
        return lambda value: value
    modulus = 1 << len(handle)      # what does not fit is left alone, for cocotb to refuse
    if handle.is_signed:
        return lambda value: value if value < modulus >> 1 else value - modulus
    return lambda value: value if value >= 0 else value + modulus
