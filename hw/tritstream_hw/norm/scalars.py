"""Scalar unit: reciprocals for the quantiser and scales for the dequantiser, once per vector."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.divider import Divider
from tritstream_hw.arithmetic.shifter import Shifter
from tritstream_hw.elements.layouts import SCALE, SCALES
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.norm.root import ROOT_BITS, SCALAR, NormRoot
from tritstream_hw.norm.statistics import AMAX_BITS, StatisticsSignature

__all__ = ["FACTORS", "RECIPROCAL", "ReciprocalsSignature", "ScalarUnit", "Scalars"]

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

_NOTHING = {"mantissa": 0, "shift": FORMATS.max_shift}

_TOP = FORMATS.amax_bits
# The divider makes `numerator << 17` of it; 26 fraction bits are wanted of numbers below 2**17.
_NUMERATOR = 127 << FORMATS.reciprocal_bits - 17


class ScalarUnit(wiring.Component):
    """Reciprocals and scales of one projection or of several, one after the other.

    See `golden.scalars`.

    Parameters
    ----------
    projections : int
        How many; `n` below.
    digit_bits : int
        Of a quotient, per cycle: 1 or 2. Two take 9 cycles less for each of the results.
    lead : int
        Cycles by which a reciprocal is announced, fewer than a division takes.

    Members
    -------
    start : :py:`In(1)`
        Strobe; not before `ready` of the start before, nor between `scales` and `done`.
    amax : :py:`In(data.ArrayLayout(47, n))`
        Largest |element * gain| of each. Stable from `start` until `ready`.
    reciprocals : :py:`Out(data.ArrayLayout(RECIPROCAL, n))`, coming : :py:`Out(n)`
        The factor is there `lead` cycles after `coming`, which is at most 25 or, without `lead`, 31
        cycles after `start`, or after the one before; until the next start. An `amax` of 0 gives
        factor 0.
    own : :py:`Out(data.ArrayLayout(NORMALISED, n))`
        The maxima, from `ready` until the next start.
    ready : :py:`Out(1)`
        All reciprocals are there.
    scales : :py:`In(1)`
        Strobe: the rest is there. Not before `ready`.
    peaks : :py:`In(data.ArrayLayout(NORMALISED, n))`
        The maxima that the scales are made of. Stable from `scales` until `done`, as are
    factors : :py:`In(data.ArrayLayout(SCALAR, n))`
        constant parts of the scales, and
    root : :py:`In(17)`, root_exponent : :py:`In(signed(6))`
        the norm of the vector.
    results : :py:`Out(data.ArrayLayout(SCALE, n))`, done : :py:`Out(1)`
        At most 33 cycles after `scales` for each, or one where the constant part is 0. Until the
        next start.
    """

    def __init__(self, *, projections: int, digit_bits: int, lead: int):
        self._count, self._lead = projections, lead

        def each(shape):
            return data.ArrayLayout(shape, projections)

        super().__init__({
            "start":         In(1),
            "amax":          In(each(AMAX_BITS)),
            "reciprocals":   Out(each(RECIPROCAL)),
            "coming":        Out(projections),
            "own":           Out(each(NORMALISED)),
            "ready":         Out(1),
            "scales":        In(1),
            "peaks":         In(each(NORMALISED)),
            "factors":       In(each(SCALAR)),
            "root":          In(ROOT_BITS),
            "root_exponent": In(signed(6)),
            "results":       Out(each(SCALE)),
            "done":          Out(1),
        })
        self._divider = Divider(digit_bits=digit_bits)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter(AMAX_BITS)
        m.submodules.divider = divider = self._divider

        index, dividing_root = Signal(range(max(2, self._count))), Signal()
        place = index[:ceil_log2(self._count)]
        is_last = index == self._count - 1
        peak, factor, result = self.peaks[place], self.factors[place], self.results[place]
        m.d.comb += [
            shifter.normalise.eq(1),
            shifter.distance.eq(AMAX_BITS),
            divider.numerator.eq(Mux(dividing_root, peak.top, _NUMERATOR)),
            divider.denominator.eq(Mux(dividing_root, self.root, shifter.o[-_TOP:])),
            divider.factor.eq(Mux(dividing_root, factor.mantissa, 1)),
        ]
        # Exponents, relative to the product of all that is multiplied to the scale.
        position = Signal(signed(18))

        def normalise(amax):
            m.d.comb += [shifter.i.eq(amax), shifter.start.eq(1)]
            m.next = "AMAX"

        def begin():
            with m.If(self.start):
                normalise(self.amax[0])
                m.d.sync += [self.ready.eq(0), self.coming.eq(0), self.done.eq(0), index.eq(0),
                             dividing_root.eq(0)]

        def scale():
            with m.If(factor.mantissa == 0):
                m.d.sync += result.eq(SCALE.const(_NOTHING))
                scaled()
            with m.Else():
                m.d.comb += divider.start.eq(1)
                m.d.sync += position.eq(factor.exponent + peak.length - _TOP - self.root_exponent)
                m.next = "RATIO"

        def scaled():
            m.d.sync += index.eq(index + 1)
            m.next = "SCALE"
            with m.If(is_last):
                m.d.sync += self.done.eq(1)
                m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                begin()
            with m.State("AMAX"):
                with m.If(shifter.settled):
                    m.d.comb += divider.start.eq(1)
                    m.d.sync += [
                        self.own[place].top.eq(shifter.o[-_TOP:]),
                        self.own[place].length.eq(shifter.left),
                        self.reciprocals[place].up.eq(FORMATS.product_bits - shifter.left),
                    ]
                    m.next = "RECIPROCAL"
            with m.State("RECIPROCAL"):
                # A register too, as the factor is, which follows when nothing is left.
                with m.If(divider.left == self._lead):
                    m.d.sync += self.coming.eq(self.coming | (1 << index))
                with m.If(~divider.busy):
                    m.d.sync += self.reciprocals[place].factor.eq(
                        Mux(shifter.left == 0, 0, divider.o))
                    m.d.sync += index.eq(index + 1)
                    m.next = "NEXT"
                    with m.If(is_last):
                        m.d.sync += [self.ready.eq(1), index.eq(0), dividing_root.eq(1)]
                        m.next = "NORM"
            with m.State("NEXT"):
                normalise(self.amax[place])
            with m.State("NORM"):
                with m.If(self.scales):
                    scale()
                with m.Else():
                    begin()         # no stage reads the vector before
            with m.State("SCALE"):
                scale()
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
                self._set_scale(m, shifter, position, result)
                scaled()
        return m

    def _set_scale(self, m, shifter, position, result):
        shift = Signal(signed(len(position) + 1))
        m.d.comb += shift.eq(FORMATS.dequant_up - position)
        m.d.sync += [
            result.mantissa.eq(shifter.o[-FORMATS.mantissa_bits:]),
            result.shift.eq(Mux((shifter.left == 0) | (shift > FORMATS.max_shift),
                                FORMATS.max_shift, shift)),
        ]


class Scalars(wiring.Component):
    """All scalars of a vector by digit recurrences, see `golden.scalars`.

    The reciprocals need nothing but the maxima, so they are under way before the header of the
    stage that reads the vector is there. A projection whose scale in the header is 0 gets mantissa
    0 and the largest shift.

    Parameters
    ----------
    scalar_units : int
        1, which works on the projections one after the other, or 3, each on its own.
    digit_bits, lead : int
        As those of `ScalarUnit`.

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
        Each of a gain of its own, in order. Each at most 31 cycles after `start` or the one before,
        until the next `start`.
    scales : :py:`Out(stream.Signature(SCALES))`
        There at most 68 cycles after command or reciprocals, and 33 for each that a unit works on.
        The payload stays until the next `start`.
    """

    def __init__(self, *, scalar_units: int, digit_bits: int, lead: int):
        super().__init__({
            "start":       In(1),
            "command":     In(stream.Signature(FACTORS)),
            "statistics":  In(StatisticsSignature()),
            "reciprocals": Out(ReciprocalsSignature()),
            "scales":      Out(stream.Signature(SCALES)),
        })
        self._units = [ScalarUnit(projections=VECTORS // scalar_units, digit_bits=digit_bits,
                                  lead=lead) for _ in range(scalar_units)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.norm = norm = NormRoot()

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
        # All units begin in the same cycle, for all scales may be made of the first maximum.
        scales = rooting & norm.valid & Cat(unit.ready for unit in self._units).all()
        first = self._units[0].own[0]
        for number, unit in enumerate(self._units):
            m.submodules[f"unit{number}"] = unit
            m.d.comb += [
                unit.start.eq(self.start),
                unit.scales.eq(scales),
                unit.root.eq(norm.root),
                unit.root_exponent.eq(norm.exponent),
            ]
            for place, own in enumerate(unit.own):
                index = number * len(unit.own) + place
                m.d.comb += [
                    unit.amax[place].eq(self.statistics.amax[index]),
                    unit.peaks[place].eq(Mux(self.command.p.separate, own, first)),
                    unit.factors[place].eq(self.command.p.factors[index]),
                    self.reciprocals.numbers[index].eq(unit.reciprocals[place]),
                    self.reciprocals.coming[index].eq(unit.coming[place]),
                    self.scales.p[index].eq(unit.results[place]),
                ]
        m.d.comb += [
            ends.eq(scaling & Cat(unit.done for unit in self._units).all()),
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
