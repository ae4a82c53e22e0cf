"""Pipelined multiplication of wide integers by the DSP slices' 18x18 multipliers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier"]

_LIMB = 17      # bits, unsigned: with the sign that the top limb has, 18, which a slice takes


def _signed_bits(shape: Shape) -> int:
    return shape.width + (not shape.signed)


def _limb_count(shape: Shape) -> int:
    return max(1, -(-(_signed_bits(shape) - 1) // _LIMB))


def _limbs(value: Value) -> list[Value]:
    """Cut into limbs, lowest first; each is a signed number of at most 18 bits."""
    count = _limb_count(value.shape())
    low = [Cat(value[n * _LIMB:(n + 1) * _LIMB], C(0, 1)).as_signed() for n in range(count - 1)]
    top = value[(count - 1) * _LIMB:]
    return [*low, top.as_signed() if value.shape().signed else Cat(top, C(0, 1)).as_signed()]


class Multiplier(wiring.Component):
    """Full product of two integers, a new one every cycle.

    The operands are registered, then the products of their limbs, then every level of the tree that
    adds these. Signed operands of up to 18 bits and unsigned ones of up to 17 are a single limb,
    35 and 34 bits are two, 52 and 51 bits three. Nothing here has a reset.

    On a platform with a method ``get_product(a, b, o)``, the product of each two limbs is what that
    returns: a module that drives `o` with the product of the signed `a` and `b`, two cycles later.

    Parameters
    ----------
    a, b : ShapeLike
        Shapes of the operands, signed or not, independently.

    Members
    -------
    a, b : :py:`In(...)`
        Operands.
    o : :py:`Out(...)`
        Product, as wide as both operands together; signed if one of them is. Follows
        :py:`latency` cycles after the operands.
    """

    def __init__(self, a, b):
        a, b = Shape.cast(a), Shape.cast(b)
        product = (signed if a.signed or b.signed else unsigned)(a.width + b.width)
        super().__init__({"a": In(a), "b": In(b), "o": Out(product)})
        self._partials = _limb_count(a) * _limb_count(b)

    @property
    def latency(self) -> int:
        """Cycles from operands to product: 2, and 1 for each level of the adder tree."""
        return 2 + (self._partials - 1).bit_length()

    def elaborate(self, platform):
        m = Module()

        def registered(value, name):
            register = Signal(value.shape(), name=name, reset_less=True)
            m.d.sync += register.eq(value)
            return register

        if hasattr(platform, "get_product"):
            # The registers are those of the DSP slices.
            a, b = self.a, self.b

            def product(x, y, name):
                o = Signal(signed(len(x) + len(y)), name=name)
                m.submodules[name] = platform.get_product(x, y, o)
                return o
        else:
            a, b = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
            m.d.sync += [a.eq(self.a), b.eq(self.b)]

            def product(x, y, name):
                return registered(x * y, name)

        # Pairs of a term and its weight. Lowest weights first, so that sums stay short.
        terms = sorted((((n + k) * _LIMB, product(x, y, f"product_{n}_{k}"))
                        for n, x in enumerate(_limbs(a)) for k, y in enumerate(_limbs(b))),
                       key=lambda term: term[0])
        while len(terms) > 1:
            pairs = zip(terms[0::2], terms[1::2], strict=False)
            level = len(terms)
            sums = [(low, registered(x + (y << (high - low)), f"sum_{level}_{n}"))
                    for n, ((low, x), (high, y)) in enumerate(pairs)]
            if level % 2:
                weight, term = terms[-1]
                sums.append((weight, registered(term, f"sum_{level}_{len(sums)}")))
            terms = sums
        m.d.comb += self.o.eq(terms[0][1])
        return m
