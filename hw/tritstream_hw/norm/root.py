"""Root of the squared norm."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream.golden.scalars import NORM_BITS
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.arithmetic.shifter import Shifter
from tritstream_hw.arithmetic.square_root import SquareRoot

__all__ = ["ROOT_BITS", "SCALAR", "NormRoot"]

SCALAR = data.StructLayout({"mantissa": FORMATS.mantissa_bits, "exponent": signed(16)})
"""A number as a section's header has it: `mantissa * 2**exponent`."""

ROOT_BITS = FORMATS.amax_bits

_MANTISSA = FORMATS.mantissa_bits
# Places of the shifter behind the binary point. A product of two mantissas that is shifted to the
# right by all of them, or by more, leaves nothing.
_FRACTION = 2 * _MANTISSA


class NormRoot(wiring.Component):
    """:py:`sqrt(s2 + ratio * s1 + floor)`, see `golden.scalars.squared_norm` and `.dequantiser`.

    Takes at most 67 cycles from `go` on, if that comes 16 cycles after `start`. The sum under the
    root has to be below :py:`2 ** 80`, which `pack` guarantees.

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
        Stable from `go` on until `valid`.
    root : :py:`Out(17)`, exponent : :py:`Out(signed(6))`
        The result is :py:`root * 2 ** exponent`, the top bit of `root` set.
    valid : :py:`Out(1)`
        They are there, until the next `start`.
    """

    start: In(1)
    s1: In(NORM_BITS)
    s2: In(NORM_BITS)
    go: In(1)
    ratio: In(SCALAR)
    floor: In(SCALAR)
    root: Out(ROOT_BITS)
    exponent: Out(signed(6))
    valid: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter(NORM_BITS + _FRACTION)
        m.submodules.multiplier = multiplier = Multiplier(unsigned(_MANTISSA), unsigned(_MANTISSA))
        m.submodules.square_root = square_root = SquareRoot(ROOT_BITS)

        # Terms are added one after the other, all by one adder.
        total = Signal(NORM_BITS)
        shifted = shifter.o[_FRACTION:]
        places = Signal(signed(18))         # of the next term, from below the binary point
        m.d.comb += [
            multiplier.a.eq(shifter.o[-_MANTISSA:]),
            multiplier.b.eq(self.ratio.mantissa),
            self.root.eq(square_root.o),
            # An even number of places is left out, which halves under the root.
            square_root.i.eq(Mux(shifter.left[0], shifter.o[-2 * ROOT_BITS:] >> 1,
                                 shifter.o[-2 * ROOT_BITS:])),
        ]

        adds = Signal()
        with m.If(adds):
            m.d.sync += total.eq(total + shifted)

        def normalise(number):
            m.d.comb += [shifter.start.eq(1), shifter.i.eq(number << _FRACTION),
                         shifter.normalise.eq(1), shifter.distance.eq(NORM_BITS + _FRACTION)]

        def shift(number):
            """Shift left by `places`; too far left and too far right both come to an end."""
            m.d.comb += [shifter.start.eq(1), shifter.i.eq(number), shifter.normalise.eq(0)]
            with m.If(places > NORM_BITS + _FRACTION):
                m.d.comb += shifter.distance.eq(NORM_BITS + _FRACTION)
            with m.Elif(places > 0):
                m.d.comb += shifter.distance.eq(places)

        def begin():
            with m.If(self.start):
                normalise(self.s1)
                m.d.sync += self.valid.eq(0)
                m.next = "NORMALISE"

        with m.FSM():
            with m.State("IDLE"):
                begin()
            with m.State("NORMALISE"):
                with m.If(self.start):
                    begin()         # no stage reads the vector before
                with m.Elif(shifter.settled & self.go):
                    m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                # `left` counts the places of the fraction too, hence nothing to add for them.
                m.d.sync += places.eq(shifter.left - _MANTISSA + self.ratio.exponent)
                m.d.sync += total.eq(self.s2)
                m.next = "PRODUCT"
            with m.State("PRODUCT"):
                shift(multiplier.o)
                m.d.sync += places.eq(self.floor.exponent + _FRACTION)
                m.next = "RATIO"
            with m.State("RATIO"):
                with m.If(shifter.settled):
                    m.d.comb += adds.eq(1)
                    shift(self.floor.mantissa)
                    m.next = "FLOOR"
            with m.State("FLOOR"):
                with m.If(shifter.settled):
                    m.d.comb += adds.eq(1)
                    m.next = "TOTAL"
            with m.State("TOTAL"):
                normalise(total)
                m.next = "EVEN"
            with m.State("EVEN"):
                with m.If(shifter.settled):
                    m.d.comb += square_root.start.eq(1)
                    length = shifter.left - _FRACTION
                    m.d.sync += self.exponent.eq((length - (2 * ROOT_BITS - 1)) >> 1)
                    m.next = "ROOT"
            with m.State("ROOT"):
                with m.If(~square_root.busy):
                    m.d.sync += self.valid.eq(1)
                    m.next = "IDLE"
        return m
