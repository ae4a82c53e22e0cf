"""Absolute value of a signed number."""

from amaranth import *

from tritstream_hw.arithmetic.add_subtract import AddSubtract

__all__ = ["magnitude"]


def magnitude(m: Module, value: Value, bits: int) -> Value:
    """Absolute value of a signed `value` in so many bits, to which it wraps. Combinational."""
    m.submodules += (adder := AddSubtract(a_bits=1, b_bits=len(value), bits=bits))
    m.d.comb += [adder.a.eq(0), adder.b.eq(value), adder.subtract.eq(value[-1])]
    return adder.total.as_unsigned()
