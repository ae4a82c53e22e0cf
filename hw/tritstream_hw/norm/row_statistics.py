"""What an element adds to the statistics of its vector: squares, and sizes of products."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.quantise import PRE_SHIFT
from tritstream_hw.arithmetic.magnitude import magnitude
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.layouts import RESULT, flow
from tritstream_hw.gemv.activations import VECTORS

__all__ = ["AMAX_BITS", "GAINS", "RowSignature", "RowStatistics", "SharedRowStatistics"]

AMAX_BITS = FORMATS.product_bits - 1
"""Width of the largest |element * gain|."""

_GAIN = signed(FORMATS.gain_bits)

GAINS = data.StructLayout({"pre": _GAIN, "gain0": _GAIN, "gain1": _GAIN, "gain2": _GAIN})
"""Gains of one element."""

_LOW = 17       # bits of the lower limb of a number that is squared; with a sign, as many as fit


class RowSignature(wiring.Signature):
    """What passes between `Statistics` and one of its rows.

    Members
    -------
    i : :py:`In(flow(RESULT))`
        Element.
    use_pre : :py:`In(1)`
        As that of `Statistics`.
    gains : :py:`In(GAINS)`
        Gains of the element, a cycle later.
    s1, s2 : :py:`Out(64)`, amax : :py:`Out(data.ArrayLayout(47, 3))`
        The squares and sizes that are summed up and compared, so many cycles after the element as
        the properties of the row say.
    """

    def __init__(self):
        super().__init__({
            "i":       In(flow(RESULT)),
            "use_pre": In(1),
            "gains":   In(GAINS),
            "s1":      Out(2 * FORMATS.vector_bits),
            "s2":      Out(2 * FORMATS.vector_bits),
            "amax":    Out(data.ArrayLayout(AMAX_BITS, VECTORS)),
        })


class RowStatistics(wiring.Component):
    """What an element adds to the statistics of its vector; one per cycle, see `RowSignature`."""

    def __init__(self):
        super().__init__(RowSignature())
        element = signed(FORMATS.vector_bits)
        # The first gain has a bit more, for a factor of exactly one.
        self._pre = Multiplier(element, signed(FORMATS.gain_bits + 1))
        self._gains = [Multiplier(element, signed(FORMATS.gain_bits)) for _ in range(VECTORS)]
        self._square1, self._square2 = Multiplier(element, element), Multiplier(element, element)

    @property
    def s1_latency(self) -> int:
        """Cycles from an element to the square of `first`."""
        return 1 + self._square1.latency

    @property
    def s2_latency(self) -> int:
        """Cycles from an element to the square of its product with the first gain, rounded."""
        return 1 + self._pre.latency + 1 + self._square2.latency

    @property
    def amax_latencies(self) -> tuple[int, ...]:
        """Cycles from an element to the size of each of its products."""
        return (1 + self._gains[0].latency + 1,) * VECTORS

    def elaborate(self, platform):
        m = Module()
        m.submodules.pre, m.submodules.square1 = self._pre, self._square1
        m.submodules.square2 = self._square2

        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        first = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += [value.eq(self.i.p.value), first.eq(self.i.p.first)]

        inner = Signal(signed(FORMATS.vector_bits), reset_less=True)
        m.d.sync += inner.eq((self._pre.o + (1 << PRE_SHIFT - 1)) >> PRE_SHIFT)
        m.d.comb += [
            self._pre.a.eq(value),
            self._pre.b.eq(Mux(self.use_pre, self.gains.pre, 1 << PRE_SHIFT)),
            self._square1.a.eq(first), self._square1.b.eq(first),
            self._square2.a.eq(inner), self._square2.b.eq(inner),
            self.s1.eq(self._square1.o), self.s2.eq(self._square2.o),
        ]
        for index, multiplier in enumerate(self._gains):
            m.submodules[f"gain{index}"] = multiplier
            m.d.comb += [multiplier.a.eq(value), multiplier.b.eq(self.gains[f"gain{index}"])]
            size = Signal(AMAX_BITS, name=f"size_{index}", reset_less=True)
            m.d.sync += size.eq(magnitude(m, multiplier.o, AMAX_BITS))
            m.d.comb += self.amax[index].eq(size)
        return m


class SharedRowStatistics(wiring.Component):
    """The same by two multipliers of two limbs each; an element every four cycles at most.

    One multiplies the element by its four gains in turn. The other squares: a number is multiplied
    by its lower limb, and by the upper one in the cycle after. It has `first` in the third cycle
    and the fourth, and in the two after these, which may be the next element's, the product with
    the first gain. See `RowSignature`.
    """

    def __init__(self):
        super().__init__(RowSignature())
        element = signed(FORMATS.vector_bits)
        self._product = Multiplier(element, signed(FORMATS.gain_bits + 1))
        self._square = Multiplier(element, signed(_LOW + 1))

    @property
    def _inner_age(self) -> int:
        """Cycles from an element to its rounded product with the first gain."""
        return 1 + self._product.latency + 1

    @property
    def s1_latency(self) -> int:
        """Cycles from an element to the square of `first`."""
        return 4 + self._square.latency + 1

    @property
    def s2_latency(self) -> int:
        """Cycles from an element to the square of its product with the first gain, rounded."""
        return self._inner_age + 1 + self._square.latency + 1

    @property
    def amax_latencies(self) -> tuple[int, ...]:
        """Cycles from an element to the size of each of its products."""
        return tuple(2 + n + self._product.latency + 1 for n in range(VECTORS))

    def elaborate(self, platform):
        m = Module()
        m.submodules.product, m.submodules.square = product, square = self._product, self._square
        # ages[n]: an element came n + 1 cycles ago.
        ages = Signal(self._inner_age + 1)
        m.d.sync += [
            ages.eq(Cat(self.i.valid, ages)),
            Assert(~(self.i.valid & ages[:3].any()), "an element comes in the turns of another"),
        ]

        value = Signal(signed(FORMATS.vector_bits), reset_less=True)
        first, inner = Signal.like(value), Signal.like(value)
        gains = Signal(data.ArrayLayout(_GAIN, VECTORS), reset_less=True)
        m.d.sync += gains.eq(Value.cast(gains) >> FORMATS.gain_bits)
        with m.If(self.i.valid):
            m.d.sync += [value.eq(self.i.p.value), first.eq(self.i.p.first)]
        with m.If(ages[0]):
            m.d.sync += gains.eq(Cat(self.gains[f"gain{n}"] for n in range(VECTORS)))
        with m.If(ages[self._inner_age - 2]):
            m.d.sync += inner.eq((product.o + (1 << PRE_SHIFT - 1)) >> PRE_SHIFT)
        m.d.comb += [
            product.a.eq(value),
            product.b.eq(Mux(ages[0], Mux(self.use_pre, self.gains.pre, 1 << PRE_SHIFT), gains[0])),
        ]

        size = Signal(AMAX_BITS, reset_less=True)
        m.d.sync += size.eq(magnitude(m, product.o, AMAX_BITS))
        m.d.comb += [amax.eq(size) for amax in self.amax]

        squared, upper = Signal.like(value), Signal()
        with_lower = Signal.like(square.o, reset_less=True)
        squares = Signal.like(self.s1, reset_less=True)
        m.d.comb += [
            squared.eq(Mux(ages[self._inner_age - 1:].any(), inner, first)),
            upper.eq(ages[3] | ages[self._inner_age]),
            square.a.eq(squared),
            square.b.eq(Mux(upper, squared >> _LOW, squared[:_LOW])),
            self.s1.eq(squares), self.s2.eq(squares),
        ]
        m.d.sync += [with_lower.eq(square.o), squares.eq(with_lower + (square.o << _LOW))]
        return m
