"""Scalar unit: reciprocals for the quantiser and scales for the dequantiser, once per vector."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.divider import Divider
from tritstream_hw.arithmetic.shifter import Shifter
from tritstream_hw.elements.layouts import SCALE, SCALES
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.norm.root import ROOT_BITS, SCALAR, NormRoot
from tritstream_hw.norm.statistics import AMAX_BITS, StatisticsSignature

__all__ = ["FACTORS", "RECIPROCAL", "ProjectionScalars", "ReciprocalsSignature", "Scalars"]

RECIPROCAL = data.StructLayout({"factor": FORMATS.amax_bits, "up": 6})
"""`127 * 2**26 / amax` of the normalised maximum, and how far that was shifted up to 48 bits."""


class ReciprocalsSignature(wiring.Signature):
    """Reciprocals of the maxima of each projection, as the one who makes them has them.

    Members
    -------
    numbers : :py:`Out(data.ArrayLayout(RECIPROCAL, 3))`
        A maximum of 0 gives factor 0.
    coming : :py:`Out(3)`
        Of which of them `up` is there, and `factor` is or will be as many cycles later as their
        user says that it has time.
    """

    def __init__(self):
        super().__init__({"numbers": Out(data.ArrayLayout(RECIPROCAL, VECTORS)),
                          "coming":  Out(VECTORS)})


NORMALISED = data.StructLayout({"top": FORMATS.amax_bits, "length": range(AMAX_BITS + 1)})
"""Top bits of a maximum, and its length in bits; both 0 if it is 0."""

FACTORS = data.StructLayout({
    "factors":  data.ArrayLayout(SCALAR, VECTORS),  # constant part of each projection's scale
    "ratio":    SCALAR,
    "floor":    SCALAR,
    "separate": 1,          # each projection has a maximum of its own, else all have the first
})
"""What a header has for the scalars of the stage's input vector."""

_TOP = FORMATS.amax_bits
# The divider makes `numerator << 17` of it; 26 fraction bits are wanted of numbers below 2**17.
_NUMERATOR = 127 << FORMATS.reciprocal_bits - 17


class ProjectionScalars(wiring.Component):
    """Reciprocal and scale of one projection, see `golden.scalars`.

    Parameters
    ----------
    digit_bits : int
        Of a quotient, per cycle: 1 or 2. Two take 9 cycles less for each of the results.
    lead : int
        Cycles by which a reciprocal is announced, fewer than a division takes.

    Members
    -------
    start : :py:`In(1)`
        Strobe; not before `reciprocal_valid` of the start before, nor between `scales` and
        `scale_valid`.
    amax : :py:`In(47)`
        Largest |element * gain|, in the cycle of `start`.
    reciprocal : :py:`Out(RECIPROCAL)`, reciprocal_valid : :py:`Out(1)`
        At most 31 cycles after `start`, until the next start. An `amax` of 0 gives factor 0.
    coming : :py:`Out(1)`
        `up` is there, and the factor will be `lead` cycles later, until the next start.
    own : :py:`Out(NORMALISED)`
        The same maximum, from `reciprocal_valid` until the cycle after `scales`.
    scales : :py:`In(1)`
        Strobe: the rest is there. Not before `reciprocal_valid`.
    peak : :py:`In(NORMALISED)`
        The maximum that the scale is made of, in the cycle of `scales`.
    factor : :py:`In(SCALAR)`
        Constant part of the scale. Stable from `scales` until `scale_valid`, as the next two are.
    root : :py:`In(17)`, root_exponent : :py:`In(signed(6))`
        Norm of the vector.
    scale : :py:`Out(SCALE)`, scale_valid : :py:`Out(1)`
        At most 33 cycles after `scales`, until the next start.
    """

    def __init__(self, *, digit_bits: int, lead: int):
        self._lead = lead
        super().__init__({
            "start":            In(1),
            "amax":             In(AMAX_BITS),
            "reciprocal":       Out(RECIPROCAL),
            "reciprocal_valid": Out(1),
            "coming":           Out(1),
            "own":              Out(NORMALISED),
            "scales":           In(1),
            "peak":             In(NORMALISED),
            "factor":           In(SCALAR),
            "root":             In(ROOT_BITS),
            "root_exponent":    In(signed(6)),
            "scale":            Out(SCALE),
            "scale_valid":      Out(1),
        })
        self._divider = Divider(digit_bits=digit_bits)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter(AMAX_BITS)
        m.submodules.divider = divider = self._divider

        dividing_root = Signal()
        m.d.comb += [
            shifter.normalise.eq(1),
            shifter.distance.eq(AMAX_BITS),
            self.own.top.eq(shifter.o[-_TOP:]),
            self.own.length.eq(shifter.left),
            divider.numerator.eq(Mux(dividing_root, self.peak.top, _NUMERATOR)),
            divider.denominator.eq(Mux(dividing_root, self.root, self.own.top)),
            divider.factor.eq(Mux(dividing_root, self.factor.mantissa, 1)),
        ]
        # Exponents, relative to the product of all that is multiplied to the scale.
        position = Signal(signed(18))

        def begin():
            with m.If(self.start):
                m.d.comb += [shifter.i.eq(self.amax), shifter.start.eq(1)]
                m.d.sync += [
                    self.reciprocal_valid.eq(0), self.coming.eq(0), self.scale_valid.eq(0),
                    dividing_root.eq(0),
                ]
                m.next = "AMAX"

        with m.FSM():
            with m.State("IDLE"):
                begin()
            with m.State("AMAX"):
                with m.If(shifter.settled):
                    m.d.comb += divider.start.eq(1)
                    m.d.sync += self.reciprocal.up.eq(FORMATS.product_bits - shifter.left)
                    m.next = "RECIPROCAL"
            with m.State("RECIPROCAL"):
                # A register too, as the factor is, which follows when nothing is left.
                with m.If(divider.left == self._lead):
                    m.d.sync += self.coming.eq(1)
                with m.If(~divider.busy):
                    m.d.sync += [
                        self.reciprocal.factor.eq(Mux(shifter.left == 0, 0, divider.o)),
                        self.reciprocal_valid.eq(1), dividing_root.eq(1),
                    ]
                    m.next = "NORM"
            with m.State("NORM"):
                with m.If(self.scales):
                    m.d.comb += divider.start.eq(1)
                    m.d.sync += position.eq(
                        self.factor.exponent + self.peak.length - _TOP - self.root_exponent)
                    m.next = "RATIO"
                with m.Else():
                    begin()         # no stage reads the vector before
            with m.State("RATIO"):
                m.d.comb += shifter.i.eq(divider.o << AMAX_BITS - len(divider.o))
                with m.If(~divider.busy):
                    m.d.comb += shifter.start.eq(1)
                    m.next = "PRODUCT"
            with m.State("PRODUCT"):
                with m.If(shifter.settled):
                    padding = AMAX_BITS - len(divider.o)
                    m.d.sync += position.eq(
                        position + shifter.left - (padding + FORMATS.mantissa_bits + _TOP))
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                self._set_scale(m, shifter, position)
                m.d.sync += self.scale_valid.eq(1)
                m.next = "IDLE"
        return m

    def _set_scale(self, m, shifter, position):
        shift = Signal(signed(len(position) + 1))
        m.d.comb += shift.eq(FORMATS.dequant_up - position)
        m.d.sync += [
            self.scale.mantissa.eq(shifter.o[-FORMATS.mantissa_bits:]),
            self.scale.shift.eq(Mux((shifter.left == 0) | (shift > FORMATS.max_shift),
                                    FORMATS.max_shift, shift)),
        ]


class Scalars(wiring.Component):
    """All scalars of a vector by digit recurrences, see `golden.scalars`.

    The projections are worked on side by side. Their reciprocals need nothing but the maxima, so
    they are under way before the header of the stage that reads the vector is there. A projection
    whose scale in the header is 0 gets mantissa 0 and the largest shift.

    Parameters
    ----------
    digit_bits, lead : int
        As those of `ProjectionScalars`.

    Members
    -------
    start : :py:`In(1)`
        Strobe: the statistics are there.
    command : :py:`In(stream.Signature(FACTORS))`
        From the header of the stage that the vector is the input of, after `start`. Work on the
        scales begins when it is offered and those before have been taken; it is taken when
        everything has been computed.
    statistics : :py:`In(StatisticsSignature())`
        Of the vector. Have to be stable from `start` until the command is taken.
    reciprocals : :py:`Out(ReciprocalsSignature())`
        Each of a gain of its own. There at most 31 cycles after `start`, until the next one.
    scales : :py:`Out(stream.Signature(SCALES))`
        There at most 101 cycles after the command. The payload stays until the next
        `start`.
    """

    def __init__(self, *, digit_bits: int, lead: int):
        super().__init__({
            "start":       In(1),
            "command":     In(stream.Signature(FACTORS)),
            "statistics":  In(StatisticsSignature()),
            "reciprocals": Out(ReciprocalsSignature()),
            "scales":      Out(stream.Signature(SCALES)),
        })
        self._projections = [ProjectionScalars(digit_bits=digit_bits, lead=lead)
                             for _ in range(VECTORS)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.norm = norm = NormRoot()
        projections = self._projections

        begins, rooting, scaling, ends = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            begins.eq(self.command.valid & ~rooting & ~scaling & ~self.scales.valid),
            norm.start.eq(self.start),
            norm.go.eq(rooting),
            norm.s1.eq(self.statistics.s1),
            norm.s2.eq(self.statistics.s2),
            norm.ratio.eq(self.command.p.ratio),
            norm.floor.eq(self.command.p.floor),
        ]
        # All scales begin in the same cycle, for they may share the first maximum.
        scales = rooting & norm.valid & Cat(one.reciprocal_valid for one in projections).all()
        for index, projection in enumerate(projections):
            m.submodules[f"projection{index}"] = projection
            m.d.comb += [
                projection.start.eq(self.start),
                projection.amax.eq(self.statistics.amax[index]),
                projection.scales.eq(scales),
                projection.peak.eq(
                    Mux(self.command.p.separate, projection.own, projections[0].own)),
                projection.factor.eq(self.command.p.factors[index]),
                projection.root.eq(norm.root),
                projection.root_exponent.eq(norm.exponent),
                self.reciprocals.numbers[index].eq(projection.reciprocal),
                self.reciprocals.coming[index].eq(projection.coming),
                self.scales.p[index].eq(projection.scale),
            ]
        m.d.comb += [
            ends.eq(scaling & Cat(one.scale_valid for one in projections).all()),
            self.command.ready.eq(ends),
        ]
        with m.If(begins):
            m.d.sync += rooting.eq(1)
        with m.If(scales):
            m.d.sync += [rooting.eq(0), scaling.eq(1)]
        with m.If(self.scales.ready):
            m.d.sync += self.scales.valid.eq(0)
        with m.If(ends):
            m.d.sync += [scaling.eq(0), self.scales.valid.eq(1)]
        m.d.sync += Assert(~(self.start & (rooting | scaling)),
                           "statistics are there before the scales of those before")
        return m
