"""Root of the squared norm."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.scalars import NORM_BITS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.arithmetic.shifter import Shifter
from tritstream_hw.arithmetic.square_root import SquareRoot

__all__ = ["ROOT", "ROOT_BITS", "ROOT_EXPONENT", "SCALAR", "NormRoot"]

SCALAR = data.StructLayout({"mantissa": FORMATS.mantissa_bits, "exponent": signed(16)})
"""A number as a section's header has it: `mantissa * 2**exponent`."""

ROOT_BITS = FORMATS.amax_bits

_MANTISSA = FORMATS.mantissa_bits
# Places of the shifter behind the binary point. A product, of which both mantissas may have been
# doubled, leaves nothing when it is shifted to the right by all of them but one. They are odd, for
# then what is added to exponents is even.
_FRACTION = 2 * _MANTISSA + 3
# What `left` counts down from, for S1: then it is what the exponent of its product has more than
# that of the ratio. For the sum: then it is not negative for a number of a single bit.
_FROM_S1 = NORM_BITS + _FRACTION - _MANTISSA - 1
_FROM_SUM = NORM_BITS + 2 * (ROOT_BITS - 1)

ROOT_EXPONENT = (_FROM_SUM - NORM_BITS) // 2
"""By how much the exponent of a `ROOT` is larger than the power of two that it stands for."""

ROOT = data.StructLayout({"mantissa": ROOT_BITS, "exponent": 6})
"""A norm, `mantissa * 2**(exponent - ROOT_EXPONENT)`, the top bit of its mantissa set."""


class NormRoot(wiring.Component):
    """:py:`sqrt(s2 + ratio * s1 + floor)`, see `golden.scalars.squared_norm` and `.dequantiser`.

    Takes at most 62 cycles from `go` on, if that comes 16 cycles after `start`. The sum under the
    root has to be below :py:`2 ** 80`, which `pack` guarantees.

    Everything is shifted by pairs of places, as the root takes its operand. Where there is an odd
    one, a mantissa is doubled: that of `s1` if no place is left of it, that of ratio or floor if
    its exponent is odd.

    Members
    -------
    start : :py:`In(1)`
        Strobe: `s1` is there, which is normalised before anything else is known. Not between `go`
        and `valid`.
    s1, s2 : :py:`In(80)`
        `s1` in the cycle of `start`, `s2` from `go` on until `valid`.
    go : :py:`In(1)`
        The rest is there, until `valid`.
    ratio, floor : :py:`In(SCALAR)`
        Stable from the cycle before `go` until `valid`.
    o : :py:`Out(ROOT)`
        The result.
    valid : :py:`Out(1)`
        It is there, until the next `start`.
    """

    start: In(1)
    s1: In(NORM_BITS)
    s2: In(NORM_BITS)
    go: In(1)
    ratio: In(SCALAR)
    floor: In(SCALAR)
    o: Out(ROOT)
    valid: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter(NORM_BITS + _FRACTION, coarse=16)
        m.submodules.square_root = square_root = SquareRoot(ROOT_BITS)
        root_ends, keeps, stops = Signal(), Signal(), Signal()
        m.d.comb += [
            root_ends.eq(square_root.o[-1]),
            square_root.i.eq(shifter.o[-2:]),
            square_root.step.eq(~root_ends),
            self.o.mantissa.eq(square_root.o),
            shifter.keeps.eq(keeps),
            shifter.stops.eq(stops),
        ]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "NORMALISE"
            with m.State("NORMALISE"):
                # If it starts again, no stage reads the vector before.
                with m.If(~self.start & shifter.settled & self.go):
                    m.next = "PRODUCT"
            with m.State("PRODUCT"):
                m.next = "RATIO"
            with m.State("RATIO"):
                with m.If(shifter.settled):
                    m.next = "FLOOR"
            with m.State("FLOOR"):
                with m.If(shifter.settled):
                    m.next = "TOTAL"
            with m.State("TOTAL"):
                m.next = "ROOT"
            with m.State("ROOT"):
                # A sum of 0, of which there is no root, ends too.
                with m.If(root_ends | shifter.settled):
                    m.d.sync += [self.valid.eq(1), self.o.exponent.eq(shifter.left >> 1)]
                    m.next = "IDLE"
        of_s1, sums = fsm.ongoing("NORMALISE"), fsm.ongoing("TOTAL")
        product, pairs = self._multiply(m, shifter, of_s1)

        # Terms are added one after the other, all by one adder.
        total, added = Signal(NORM_BITS), Signal()
        m.d.comb += added.eq(shifter.settled & (fsm.ongoing("RATIO") | fsm.ongoing("FLOOR")))
        with m.If(of_s1):
            m.d.sync += total.eq(self.s2)
        with m.Elif(added):
            m.d.sync += total.eq(total + shifter.o[_FRACTION:])

        shifted = fsm.ongoing("PRODUCT") | fsm.ongoing("RATIO") & shifter.settled
        m.d.comb += [
            shifter.start.eq(self.start | shifted | sums),
            square_root.start.eq(sums),
            shifter.i[_FRACTION:].eq(Mux(self.start, self.s1, Mux(sums, total, 0))),
            shifter.i[:_FRACTION].eq(Mux(self.start | sums, 0, product)),
            shifter.distance.eq(Mux(self.start, _FROM_S1, Mux(sums, _FROM_SUM, pairs << 1))),
        ]
        with m.If(self.start):
            m.d.sync += [keeps.eq(1), stops.eq(1), self.valid.eq(0)]
        with m.If(shifted):
            m.d.sync += [keeps.eq(0), stops.eq(0)]
        with m.If(sums):
            m.d.sync += keeps.eq(1)
        return m

    def _multiply(self, m, shifter, of_s1):
        """Return the product of ratio and S1, or the floor, and pairs of places to shift it by.

        Both two cycles later; but one for the pairs.
        """
        operand = unsigned(_MANTISSA + 1)
        m.submodules.multiplier = multiplier = Multiplier(operand, operand)
        top = shifter.o[-1 - _MANTISSA:]
        exponent = Mux(of_s1, self.ratio.exponent, self.floor.exponent)
        pairs = Signal(signed(16))
        distance = Signal(6)
        m.d.sync += pairs.eq((exponent >> 1)
                             + Mux(of_s1, shifter.left >> 1, (_FRACTION - 1) // 2))
        m.d.comb += [
            multiplier.a.eq(Mux(of_s1, self.ratio.mantissa, 2) << exponent[0]),
            multiplier.b.eq(Mux(of_s1, Cat(top[0] & ~top[-1], top[1:]), self.floor.mantissa)),
            # Too far to the left and too far to the right both come to an end.
            distance.eq(Mux(pairs < 0, 0, pairs[:6] | pairs[6:].any().replicate(6))),
        ]
        return multiplier.o, distance
