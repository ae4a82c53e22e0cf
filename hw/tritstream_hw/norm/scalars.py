"""Scalar unit: reciprocals for the quantiser and scales for the dequantiser, once per vector."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.divider import Divider
from tritstream_hw.arithmetic.shifter import Shifter
from tritstream_hw.elements.layouts import SCALE, scales_layout
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.norm.root import ROOT, ROOT_EXPONENT, SCALAR
from tritstream_hw.norm.roots import Roots
from tritstream_hw.norm.row_statistics import AMAX_BITS
from tritstream_hw.norm.statistics import StatisticsSignature

__all__ = ["FACTORS", "RECIPROCAL", "ReciprocalsSignature", "ScalarUnit", "Scalars"]

RECIPROCAL = data.StructLayout({"factor": FORMATS.amax_bits, "up": 6})
"""`127 * 2**26 / amax` of the normalised maximum, and how far that was shifted up to 48 bits."""


class ReciprocalsSignature(wiring.Signature):
    """Reciprocals of the maxima of each projection, as the one who makes them has them.

    Parameters
    ----------
    lanes : int
        `T`, tokens.

    Members
    -------
    numbers : :py:`Out(data.ArrayLayout(data.ArrayLayout(RECIPROCAL, 3), T))`
        A maximum of 0 gives factor 0.
    coming : :py:`Out(data.ArrayLayout(3, T))`
        Of which of them `up` is there, and `factor` is or will be as many cycles later as their
        user says that it has time.
    """

    def __init__(self, lanes: int = 1):
        numbers = data.ArrayLayout(RECIPROCAL, VECTORS)
        super().__init__({"numbers": Out(data.ArrayLayout(numbers, lanes)),
                          "coming":  Out(data.ArrayLayout(VECTORS, lanes))})


NORMALISED = data.StructLayout({"top": FORMATS.amax_bits, "up": 6})
"""Top bits of a maximum, and how far it was shifted up to 48 bits; `top` is 0 if it is."""

FACTORS = data.StructLayout({
    "factors":  data.ArrayLayout(SCALAR, VECTORS),  # constant part of each projection's scale
    "ratio":    SCALAR,
    "floor":    SCALAR,
    "separate": 1,          # each projection has a maximum of its own, else all have the first
})
"""What a header has for the scalars of the stage's input vector."""

_NOTHING = {"mantissa": 0, "shift": FORMATS.max_shift}

_TOP = FORMATS.amax_bits
_MOST_PAIRS = (AMAX_BITS - 1) // 2      # of places that a maximum is shifted up; and one is left
# The divider makes `numerator << 17` of it; 26 fraction bits are wanted of numbers below 2**17.
_NUMERATOR = 127 << FORMATS.reciprocal_bits - 17


class ScalarUnit(wiring.Component):
    """Reciprocals and scales of one projection or of several, one after the other.

    All reciprocals of a token are made, then those of the next; then the scales of one token each
    time they are asked for. See `golden.scalars`.

    Parameters
    ----------
    projections : int
        How many; `n` below.
    lanes : int
        `T`, tokens.
    digit_bits : int
        Of a quotient, per cycle: 1 or 2. Two take 9 cycles less for each of the results.
    lead : int
        Cycles by which a reciprocal is announced, fewer than a division takes.

    Members
    -------
    start : :py:`In(1)`
        Strobe; not before `ready` of the start before, nor between `scales` and `done`.
    last : :py:`In(range(T))`
        The last token that there is. Stable from `start` until `ready`.
    amax : :py:`In(data.ArrayLayout(data.ArrayLayout(47, n), T))`
        Largest |element * gain| of each. Stable from `start` until `ready`.
    reciprocals : :py:`Out(data.ArrayLayout(data.ArrayLayout(RECIPROCAL, n), T))`
        Their reciprocals. An `amax` of 0 gives factor 0.
    coming : :py:`Out(data.ArrayLayout(n, T))`
        The factor is there `lead` cycles after `coming`, which is at most 25 or, without `lead`, 31
        cycles after `start`, or after the one before; until the next start.
    ready : :py:`Out(1)`
        All reciprocals are there.
    scales : :py:`In(1)`, lane : :py:`In(range(T))`
        Strobe: the rest is there, of this token, which is stable until `done`. Not before `ready`.
    factors : :py:`In(data.ArrayLayout(SCALAR, n))`
        Constant parts of the scales, whose mantissas have their top bit set or are 0. Stable from a
        cycle before `scales` until `done`.
    separate : :py:`In(1)`
        Each scale is made of a maximum of its own. Stable from `scales` until `done`, as are
    own : :py:`Out(NORMALISED)`, peak : :py:`In(NORMALISED)`
        the maximum whose turn it is, the first one if they are not separate; the one that is used;
    root : :py:`In(ROOT)`
        and the norm of the vector.
    results : :py:`Out(data.ArrayLayout(data.ArrayLayout(SCALE, n), T))`
        Scales, until those of the same token are made again.
    done : :py:`Out(1)`
        Those of the token are there, at most 24 cycles after `scales` for each, or one where the
        constant part is 0. Until the next `scales` or start.
    """

    def __init__(self, *, projections: int, digit_bits: int, lead: int, lanes: int = 1):
        self._count, self._lead = projections, lead

        def each(shape):
            return data.ArrayLayout(shape, projections)

        def of_all(shape):
            return data.ArrayLayout(each(shape), lanes)

        super().__init__({
            "start":       In(1),
            "last":        In(range(lanes)),
            "amax":        In(of_all(AMAX_BITS)),
            "reciprocals": Out(of_all(RECIPROCAL)),
            "coming":      Out(data.ArrayLayout(projections, lanes)),
            "ready":       Out(1),
            "scales":      In(1),
            "lane":        In(range(lanes)),
            "factors":     In(each(SCALAR)),
            "separate":    In(1),
            "own":         Out(NORMALISED),
            "peak":        In(NORMALISED),
            "root":        In(ROOT),
            "results":     Out(of_all(SCALE)),
            "done":        Out(1),
        })
        self._maxima = Signal(of_all(NORMALISED))
        self._divider = Divider(digit_bits=digit_bits)

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter(FORMATS.product_bits, coarse=8)
        m.submodules.divider = divider = self._divider

        index = Signal(range(max(2, self._count)))
        place = index[:ceil_log2(self._count)]
        is_last = index == self._count - 1
        factor = self.factors[place]
        lane = Signal.like(self.last)       # whose reciprocals are made
        maximum, is_odd = Signal(NORMALISED), ~shifter.o[-1]
        m.d.comb += [
            shifter.i.eq(self.amax[lane][place]),
            shifter.keeps.eq(1),
            shifter.stops.eq(1),
            shifter.distance.eq(2 * _MOST_PAIRS),
            maximum.top.eq(Mux(is_odd, shifter.o[-1 - _TOP:-1], shifter.o[-_TOP:])),
            maximum.up.eq(Cat(is_odd, _MOST_PAIRS - (shifter.left >> 1))),
            divider.numerator.eq(Mux(self.ready, self.peak.top, _NUMERATOR)),
            divider.denominator.eq(Mux(self.ready, self.root.mantissa, maximum.top)),
            # A maximum of 0 has the reciprocal 0.
            divider.factor.eq(Mux(self.ready, factor.mantissa, maximum.top[-1])),
        ]
        shifts = Signal(range(3))           # of the product, until its top bit is set
        shift = self._add_exponents(m, shifts, factor.exponent)
        # Known before it is asked: whether there is anything to divide decides all that goes on.
        absent = Signal(self._count)
        m.d.sync += absent.eq(~Cat(factor.mantissa[-1] for factor in self.factors))

        normalised, scaled = Signal(), Signal()

        def ends():
            m.d.comb += scaled.eq(1)
            m.next = "SCALE"
            with m.If(is_last):
                m.next = "IDLE"

        def scale():
            with m.If(absent.bit_select(place, 1)):
                ends()
            with m.Else():
                m.d.comb += divider.start.eq(1)
                m.d.sync += shifts.eq(0)
                m.next = "RATIO"

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.scales):
                    m.d.sync += self.done.eq(0)
                    scale()
                with m.Elif(self.start):
                    m.d.comb += shifter.start.eq(1)
                    m.d.sync += [self.ready.eq(0), self.coming.eq(0), self.done.eq(0)]
                    m.next = "AMAX"
            with m.State("AMAX"):
                with m.If(shifter.settled):
                    m.d.comb += [divider.start.eq(1), normalised.eq(1)]
                    m.d.sync += self.reciprocals[lane][place].up.eq(maximum.up)
                    m.next = "RECIPROCAL"
            with m.State("RECIPROCAL"):
                # A register too, as the factor is, which follows when nothing is left.
                with m.If(divider.left == self._lead):
                    m.d.sync += self.coming[lane].eq(self.coming[lane] | (1 << index))
                with m.If(~divider.busy):
                    m.d.sync += self.reciprocals[lane][place].factor.eq(divider.o)
                    m.d.sync += index.eq(index + 1)
                    m.next = "NEXT"
                    with m.If(is_last):
                        m.d.sync += [index.eq(0), lane.eq(lane + 1)]
                        with m.If(lane == self.last):
                            m.d.sync += [self.ready.eq(1), lane.eq(0)]
                            m.next = "IDLE"
            with m.State("NEXT"):
                m.d.comb += shifter.start.eq(1)
                m.next = "AMAX"
            with m.State("SCALE"):
                scale()
            with m.State("RATIO"):
                with m.If(~divider.busy):
                    # Numbers with their top bit set have a quotient, and that a product, of which
                    # one of the top three bits is; 0 has none.
                    with m.If(divider.o[-1] | ~self.peak.top[-1]):
                        m.next = "GAP"
                    with m.Else():
                        m.d.comb += divider.shift.eq(1)
                        m.d.sync += shifts.eq(shifts + 1)
            with m.State("GAP"):
                m.next = "SHIFT"
            with m.State("SHIFT"):
                ends()
        # Maxima are used in the order in which they came, so they go round.
        maxima = self._maxima[Mux(self.ready, self.lane, lane)]
        m.d.comb += self.own.eq(maxima[0])
        with m.If(normalised):
            m.d.sync += maxima.eq(_append(maxima, maximum))
        with m.If(scaled & self.separate):
            m.d.sync += maxima.eq(_append(maxima, self.own))

        result, results = Signal(SCALE, init=_NOTHING), self.results[self.lane]
        with m.If(fsm.ongoing("SHIFT")):
            m.d.comb += result.mantissa.eq(divider.o[-FORMATS.mantissa_bits:])
            with m.If(self.peak.top[-1] & (shift <= FORMATS.max_shift)):
                m.d.comb += result.shift.eq(shift)
        with m.If(scaled):
            m.d.sync += [results.eq(_append(results, result)), index.eq(index + 1)]
            with m.If(is_last):
                m.d.sync += [self.done.eq(1), index.eq(0)]
        m.d.sync += Assert(~self.start | fsm.ongoing("IDLE"),
                           "maxima are there before the reciprocals of those before")
        return m

    def _add_exponents(self, m, shifts, exponent):
        """Return the shift of a scale, two cycles after what it is made of.

        One exponent is taken after the other, the small ones first, for an adder of three terms is
        more than two adders.
        """
        least = (FORMATS.dequant_up + FORMATS.mantissa_bits + 2 * _TOP - len(self._divider.o)
                 - FORMATS.product_bits - ROOT_EXPONENT)
        gap, shift = Signal(signed(8)), Signal(signed(18))
        m.d.sync += [
            gap.eq(self.peak.up + self.root.exponent
                   + Mux(shifts[1], least + 2, Mux(shifts[0], least + 1, least))),
            shift.eq(gap - exponent),
        ]
        return shift


def _append(several: data.View, last) -> Value:
    """Return an array without its first element, and with another behind it."""
    elements = [several[n] for n in range(1, several.shape().length)]
    return Cat(*elements, last)


class Scalars(wiring.Component):
    """All scalars of a vector by digit recurrences, see `golden.scalars`.

    The reciprocals need nothing but the maxima, so they are under way before the header of the
    stage that reads the vector is there. A projection whose scale in the header is 0 gets mantissa
    0 and the largest shift.

    Parameters
    ----------
    scalar_units : int
        1, which works on the projections one after the other, or 3, each on its own.
    digit_bits, lead, lanes : int
        As those of `ScalarUnit`.
    root_units : int
        As that of `Roots`.

    Members
    -------
    start : :py:`In(1)`
        Strobe: the statistics are there, but for `s2`, which is a cycle after the command.
    last : :py:`In(range(T))`
        The last token that there is. Stable from `start` until the command is taken.
    command : :py:`In(stream.Signature(FACTORS))`
        From the header of the stage that the vectors are the input of, after `start`. Work on the
        scales begins when it is offered and those before have been taken; it is taken when
        everything has been computed.
    statistics : :py:`In(StatisticsSignature(T))`
        Of the vectors. Have to be stable from `start` until the command is taken.
    reciprocals : :py:`Out(ReciprocalsSignature(T))`
        Each of a gain of its own, in order, token by token. Each at most 31 cycles after `start` or
        the one before, until the next `start`.
    scales : :py:`Out(stream.Signature(scales_layout(T)))`
        There at most 63 cycles after command or reciprocals, and 24 for each that a unit works on;
        for each token more as many of these again, and one, or until its norm is there, if that
        is later. The payload stays until the next `start`.
    """

    def __init__(self, *, scalar_units: int, digit_bits: int, lead: int, lanes: int = 1,
                 root_units: int = 1):
        super().__init__({
            "start":       In(1),
            "last":        In(range(lanes)),
            "command":     In(stream.Signature(FACTORS)),
            "statistics":  In(StatisticsSignature(lanes)),
            "reciprocals": Out(ReciprocalsSignature(lanes)),
            "scales":      Out(stream.Signature(scales_layout(lanes))),
        })
        self._lanes = range(lanes)
        self._units = [ScalarUnit(projections=VECTORS // scalar_units, digit_bits=digit_bits,
                                  lead=lead, lanes=lanes) for _ in range(scalar_units)]
        self._roots = Roots(root_units=root_units, lanes=lanes)
        # An attribute, so that an assertion can tell when `s2` is used.
        self.going = Signal()       # a command is worked on

    def elaborate(self, platform):
        m = Module()
        m.submodules.roots = roots = self._roots
        wiring.connect(m, wiring.flipped(self.statistics), roots.statistics)

        # The scales of a token are made, and those have been.
        going, scaling, ends = self.going, Signal(), Signal()
        begins, lane = Signal(), Signal.like(self.last)
        m.d.comb += [
            begins.eq(self.command.valid & ~going & ~self.scales.valid),
            roots.start.eq(self.start),
            roots.last.eq(self.last),
            roots.go.eq(going),
            roots.ratio.eq(self.command.p.ratio),
            roots.floor.eq(self.command.p.floor),
            roots.lane.eq(lane),
        ]
        # All units begin in the same cycle, for all scales may be made of the first maximum.
        scales = going & ~scaling & roots.valid & Cat(unit.ready for unit in self._units).all()
        for number, unit in enumerate(self._units):
            m.submodules[f"unit{number}"] = unit
            m.d.comb += [
                unit.start.eq(self.start),
                unit.last.eq(self.last),
                unit.scales.eq(scales),
                unit.lane.eq(lane),
                unit.root.eq(roots.o),
                unit.separate.eq(self.command.p.separate),
                unit.peak.eq(Mux(self.command.p.separate, unit.own, self._units[0].own)),
            ]
            for place in range(len(unit.factors)):
                self._connect(m, unit, place, number * len(unit.factors) + place)
        m.d.comb += [
            ends.eq(scaling & Cat(unit.done for unit in self._units).all()),
            self.command.ready.eq(ends & (lane == self.last)),
        ]
        with m.If(begins):
            m.d.sync += going.eq(1)
        with m.If(scales):
            m.d.sync += scaling.eq(1)
        with m.If(self.scales.ready):
            m.d.sync += self.scales.valid.eq(0)
        with m.If(ends):
            m.d.sync += [scaling.eq(0), lane.eq(lane + 1)]
            with m.If(lane == self.last):
                m.d.sync += [going.eq(0), lane.eq(0), self.scales.valid.eq(1)]
        m.d.sync += Assert(~(self.start & going),
                           "statistics are there before the scales of those before")
        return m

    def _connect(self, m, unit, place: int, index: int):
        """Connect a place of a unit, which has the projection of this index."""
        m.d.comb += unit.factors[place].eq(self.command.p.factors[index])
        for n in self._lanes:
            m.d.comb += [
                unit.amax[n][place].eq(self.statistics.amax[n][index]),
                self.reciprocals.numbers[n][index].eq(unit.reciprocals[n][place]),
                self.reciprocals.coming[n][index].eq(unit.coming[n][place]),
                self.scales.p[n][index].eq(unit.results[n][place]),
            ]
