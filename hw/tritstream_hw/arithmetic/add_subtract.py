"""A sum or a difference, whichever is asked for, by one carry chain."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import LatticeECP5Platform

__all__ = ["AddSubtract"]

# Of a place of an ECP5's chain, whose input D is 1: the sum of A and B, or of A and the inverted B
# where C is 1. The first four bits are the carry that it makes if it does not hand one on.
_TABLE = 0b1001_0110_1010_1010


class AddSubtract(wiring.Component):
    """`a + b`, or `a - b` where that is asked for. Combinational.

    The carry chain of an ECP5 inverts an operand on its way, of which Yosys makes no use where that
    depends: it would take a lookup table more for each bit. So on an ECP5 the cells of the chain
    are instances. On other parts the synthesis tool finds what it has.

    Parameters
    ----------
    a_bits, b_bits, bits : int
        Widths of the operands and of the result, which wraps.

    Members
    -------
    a, b : :py:`In(signed(a_bits))`, :py:`In(signed(b_bits))`
        Operands.
    subtract : :py:`In(1)`
        Whether `b` is subtracted.
    total : :py:`Out(signed(bits))`
        The result.
    """

    def __init__(self, *, a_bits: int, b_bits: int, bits: int):
        super().__init__({"a": In(signed(a_bits)), "b": In(signed(b_bits)), "subtract": In(1),
                          "total": Out(signed(bits))})

    def elaborate(self, platform):
        m = Module()
        if isinstance(platform, LatticeECP5Platform) and platform.family == "ecp5":
            self._chain(m)
        else:
            # The position below the lowest makes the carry. Written as two additions it would
            # become two carry chains.
            b = self.b ^ self.subtract.replicate(len(self.b)).as_signed()
            total = Cat(C(1, 1), self.a).as_signed() + Cat(self.subtract, b).as_signed()
            m.d.comb += self.total.eq(total[1:].as_signed())
        return m

    def _chain(self, m):
        """Lay the chain, of which each cell makes two bits."""
        bits = len(self.total) + len(self.total) % 2
        a, b, total = (Signal(signed(bits), name=f"{name}_bits")
                       for name in ("a", "b", "total"))
        m.d.comb += [a.eq(self.a), b.eq(self.b), self.total.eq(total)]
        carry = self.subtract
        for low in range(0, bits, 2):
            ports = {"i_CIN": carry}
            carry = ports["o_COUT"] = Signal(name=f"carry_{low + 2}")
            for half in (0, 1):
                ports |= {f"p_INIT{half}": C(_TABLE, 16), f"p_INJECT1_{half}": "NO",
                          f"i_A{half}": a[low + half], f"i_B{half}": b[low + half],
                          f"i_C{half}": self.subtract, f"i_D{half}": C(1, 1),
                          f"o_S{half}": total[low + half]}
            m.submodules[f"cell_{low}"] = Instance("CCU2C", **ports)
