"""Mixer: joins the projections of a row, as MLGRU or as gated channel mixer."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.elements.gate import Gate
from tritstream_hw.elements.layouts import ELEMENT, ELEMENTS, RESULT
from tritstream_hw.elements.recurrence import Recurrence
from tritstream_hw.elements.sigmoid_product import SigmoidProduct
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.stream.delay import delay

__all__ = ["Mixer"]


class Mixer(wiring.Component):
    """Makes an element of the output vector of three (i, f, g) or two (a, b).

    Equals `tritstream.golden.elementwise.mlgru` and `glu`. A plain pipeline::

        candidate = silu(i)
        opened = keep * sigmoid(-f)
        state = recurrence(h, candidate, opened)
        o = silu(state) * g

    For GLU it ends early, with :py:`o = silu(a) * b`, for the SiLU of i is that of a.

    A row may enter in every cycle, or in every fourth. Then the elements of a row come one after
    the other, and one unit makes all three products with a sigmoid in turn.

    Parameters
    ----------
    element_cycles : int
        Cycles from a row to the next: 1 or 4.

    Members
    -------
    command : :py:`In(ELEMENTS)`
        What to do. Must not change while rows are under way.
    turn : :py:`In(range(element_cycles))`
        Counts the cycles; 0 in the first of a row.
    elements : :py:`In(data.ArrayLayout(signed(18), 3))`
        Elements of a row, by projection; each :py:`stagger` cycles after the one before.
    keep : :py:`In(16)`
        One minus the row's lower bound, a cycle after its first element.
    h : :py:`In(signed(24))`, fresh : :py:`In(1)`
        The row's state, :py:`h_delay` cycles after its elements, and whether it counts as 0.
    follows : :py:`In(1)`
        With `h`: the state is instead the new one of the row :py:`chain_cycles` before.
    state : :py:`Out(signed(24))`
        Its new state, :py:`state_latency` cycles after its elements.
    o : :py:`Out(RESULT)`
        Gated element, with g as `first` (0 for GLU). Follows :py:`mlgru_latency` or
        :py:`glu_latency` cycles after the elements.
    """

    def __init__(self, *, element_cycles: int = 1):
        super().__init__({
            "command":  In(ELEMENTS),
            "turn":     In(range(element_cycles)),
            "elements": In(data.ArrayLayout(ELEMENT, VECTORS)),
            "keep":     In(FORMATS.gain_bits),
            "h":        In(signed(FORMATS.state_bits)),
            "fresh":    In(1),
            "follows":  In(1),
            "state":    Out(signed(FORMATS.state_bits)),
            "o":        Out(RESULT),
        })
        self._cycles = element_cycles
        self._products = [SigmoidProduct() for _ in range(VECTORS if element_cycles == 1 else 1)]
        self._recurrence, self._gate = Recurrence(), Gate()

    @property
    def stagger(self) -> int:
        """Cycles from an element of a row to the next."""
        return int(self._cycles > 1)

    @property
    def h_delay(self) -> int:
        """Cycles until the state is needed, less one in which it may come from far away."""
        return self.stagger + self._products[0].latency

    @property
    def chain_cycles(self) -> int:
        """Cycles from a row to one that goes on from its new state."""
        return self._recurrence.latency

    @property
    def state_latency(self) -> int:
        """Cycles from elements to the new state."""
        return self.h_delay + 1 + self._recurrence.latency

    @property
    def glu_latency(self) -> int:
        """Cycles from a and b to their product."""
        return 1 + self._products[0].latency + self._gate.latency

    @property
    def mlgru_latency(self) -> int:
        """Cycles from i, f and g to the gated state."""
        return self.state_latency + 1 + self._products[0].latency + self._gate.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.recurrence, m.submodules.gate = recurrence, gate = self._recurrence, self._gate
        for n, product in enumerate(self._products):
            m.submodules[f"product{n}"] = product
        candidate, opened, silu = (self._products * VECTORS)[:VECTORS]

        # Registered, so that `keep` comes out of its memory at the same time as i.
        i, f, g = (delay(m, element, 1, name=f"element_{n}")
                   for n, element in enumerate(self.elements))
        keep = delay(m, self.keep, self.stagger, name="keep")
        # The new state with the fraction bits of an element.
        extra = FORMATS.state_extra
        rounded = Signal(ELEMENT, reset_less=True)
        m.d.sync += rounded.eq(recurrence.o[extra:].as_signed() + recurrence.o[extra - 1])

        # In cycles 1, 2 and 19 of a row, if one unit does it all: three of four turns.
        fractions = self.command.fraction0, self.command.fraction1
        self._use(m, candidate, 1, x=i, factor=i, fraction=fractions[0], negate=0)
        self._use(m, opened, 1 + self.stagger, x=f, factor=keep, fraction=fractions[1], negate=1)
        self._use(m, silu, self.state_latency + 1, x=rounded, factor=rounded,
                  fraction=fractions[0], negate=0)

        h, follows = Signal.like(self.h, reset_less=True), Signal(reset_less=True)
        m.d.sync += [h.eq(Mux(self.fresh, 0, self.h)), follows.eq(self.follows)]
        m.d.comb += [
            recurrence.h.eq(Mux(follows, recurrence.o, h)),
            recurrence.candidate.eq(delay(m, candidate.o, self.stagger, name="candidate")),
            recurrence.opened.eq(opened.o),
            self.state.eq(recurrence.o),
        ]

        glu = self.command.glu
        b = delay(m, f, candidate.latency - self.stagger, name="b")
        late_g = delay(m, g, self.mlgru_latency - gate.latency - 1 - 2 * self.stagger, name="g")
        m.d.comb += [
            gate.silu.eq(Mux(glu, candidate.o, silu.o)),
            gate.factor.eq(Mux(glu, b, late_g)),
            self.o.value.eq(gate.o),
            self.o.first.eq(Mux(glu, 0, delay(m, late_g, gate.latency, name="first"))),
        ]
        return m

    def _use(self, m, product, cycle: int, **operands):
        """Give a unit the operands that are there so many cycles after the first element."""
        with m.If(self.turn == cycle % self._cycles):
            m.d.comb += [getattr(product, name).eq(value) for name, value in operands.items()]
