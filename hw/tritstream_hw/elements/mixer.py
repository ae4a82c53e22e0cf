"""Mixer: joins the projections of a stage, as MLGRU or as gated channel mixer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.elements.gate import PLACES, Gate
from tritstream_hw.elements.layouts import ELEMENT, ELEMENTS, RESULT, flow
from tritstream_hw.elements.ports import row_port, state_read_port, state_write_port
from tritstream_hw.elements.recurrence import Recurrence
from tritstream_hw.elements.sigmoid_product import SigmoidProduct
from tritstream_hw.stream.delay import delay

__all__ = ["Mixer"]


class Mixer(wiring.Component):
    """Makes one element of the output vector of three (i, f, g) or two (a, b) elements.

    Equals `tritstream.golden.elementwise.mlgru` and `glu`. Rows come in blocks of up to five: all
    i's of a block, all its f's, all its g's; or all a's, all b's. Throughput is one element in per
    cycle, with gaps or without, also from one vector to the next. A result follows
    :py:`factor_latency` cycles after its g or b, or :py:`state_latency + gate_latency` cycles after
    its f, or :py:`1 + gate_latency` cycles after its a, whichever is later; and not in one cycle
    with another. Results come in the order of their rows.

    One SigmoidProduct serves i's and f's, for they share the input; the one in the gate
    serves h's or a's.

    Parameters
    ----------
    max_state : int
        Elements of the recurrent state.

    Members
    -------
    i : :py:`In(flow(ELEMENT))`
        Elements, values of 18 bits.
    command : :py:`In(ELEMENTS)`
        What to do. Must not change while elements are under way.
    keep : :py:`In(ReadPort.Signature(addr_width=16, shape=16))`
        One minus the lower bound of a row.
    state_read : :py:`In(ReadPort.Signature(...))`, state_write : :py:`In(WritePort.Signature(...))`
        State; and new state, :py:`state_latency` cycles after its f, before the result leaves. That
        of a row must be written before the same row is read again.
    o : :py:`Out(flow(RESULT))`
        Gated vector, with g as `first` (0 for GLU).
    """

    def __init__(self, *, max_state: int):
        super().__init__({
            "i":           In(flow(ELEMENT)),
            "command":     In(ELEMENTS),
            "keep":        In(row_port(unsigned(FORMATS.gain_bits))),
            "state_read":  In(state_read_port(max_state)),
            "state_write": In(state_write_port(max_state)),
            "o":           Out(flow(RESULT)),
        })
        self._activation = SigmoidProduct()
        self._recurrence = Recurrence()
        self.gate = Gate()
        # Attributes, like those of the gate, because a proof has to count what is under way: what
        # came in the latest cycle, and which stages of the pipelines hold something.
        self.is_i, self.is_f, self.is_a, self.is_y = (
            Signal(name=name) for name in ("is_i", "is_f", "is_a", "is_y"))
        self.i_under_way = Signal(self._activation.latency)
        self.f_under_way = Signal(self._activation.latency)
        self.h_under_way = Signal(self._recurrence.latency)
        self.states = SyncFIFO(width=len(self.state_read.data) + len(self.state_read.addr),
                               depth=PLACES)
        self.candidates = SyncFIFO(width=FORMATS.element_bits, depth=PLACES)

    @property
    def state_latency(self) -> int:
        """Cycles from f to the write of the new state."""
        return 1 + self._activation.latency + self._recurrence.latency

    @property
    def gate_latency(self) -> int:
        """Cycles from the write of a new state to the result, if g was there before."""
        return 1 + self.gate.latency

    @property
    def factor_latency(self) -> int:
        """Cycles from g or b to the result, if the other operand was there before."""
        return 1 + self.gate.factor_latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.activation = activation = self._activation
        m.submodules.recurrence = recurrence = self._recurrence
        m.submodules.gate = gate = self.gate

        element = Signal(FORMATS.element_bits, reset_less=True)
        there, projection = self.i.valid, self.i.p.projection
        m.d.sync += [
            element.eq(self.i.p.value),
            self.is_i.eq(there & ~self.command.glu & (projection == 0)),
            self.is_f.eq(there & ~self.command.glu & (projection == 1)),
            self.is_a.eq(there & self.command.glu & (projection == 0)),
            self.is_y.eq(there & (projection == Mux(self.command.glu, 1, 2))),
            self.i_under_way.eq(Cat(self.is_i, self.i_under_way)),
            self.f_under_way.eq(Cat(self.is_f, self.f_under_way)),
            self.h_under_way.eq(Cat(self.f_under_way[-1], self.h_under_way)),
        ]

        # i and f: candidate = silu(i), opened = keep * sigmoid(-f).
        m.d.comb += [
            self.keep.addr.eq(self.i.p.row),
            activation.x.eq(element.as_signed()),
            activation.fraction.eq(Mux(self.is_f, self.command.fraction1, self.command.fraction0)),
            activation.negate.eq(self.is_f),
            activation.factor.eq(Mux(self.is_f, self.keep.data, element.as_signed())),
        ]

        # A candidate waits for its f, a state with its address for the same f to be through.
        m.submodules.candidates = candidates = self.candidates
        m.submodules.states = states = self.states
        h, address = states.r_data[:FORMATS.state_bits], states.r_data[FORMATS.state_bits:]
        # A state comes out of a large memory, from far away: it goes into the queue a cycle later.
        read = Signal.like(self.state_read.data, reset_less=True)
        m.d.sync += [
            self.state_read.addr.eq(self.command.state_base + self.i.p.row),
            read.eq(Mux(self.command.fresh, 0, self.state_read.data)),
        ]
        m.d.comb += [
            states.w_data.eq(Cat(read, delay(m, self.state_read.addr, 2, name="address"))),
            states.w_en.eq(self.f_under_way[1]),
            states.r_en.eq(self.f_under_way[-1]),
            candidates.w_data.eq(activation.o),
            candidates.w_en.eq(self.i_under_way[-1]),
            candidates.r_en.eq(self.f_under_way[-1]),
            recurrence.h.eq(h.as_signed()),
            recurrence.candidate.eq(candidates.r_data.as_signed()),
            recurrence.opened.eq(activation.o),
            self.state_write.en.eq(self.h_under_way[-1]),
            self.state_write.addr.eq(
                delay(m, address, recurrence.latency, name="write_address")),
            self.state_write.data.eq(recurrence.o),
        ]

        # x of the gate is a, or the new state with the fraction bits of an element.
        extra = FORMATS.state_extra
        m.d.sync += [
            gate.x.payload.eq(Mux(self.command.glu, element.as_signed(),
                                  recurrence.o[extra:].as_signed() + recurrence.o[extra - 1])),
            gate.x.valid.eq(self.is_a | self.state_write.en),
        ]
        m.d.comb += [
            gate.fraction.eq(self.command.fraction0),
            gate.y.p.value.eq(element.as_signed()),
            gate.y.p.row.eq(delay(m, self.i.p.row, 1, name="row")),
            gate.y.p.last.eq(delay(m, self.i.p.last, 1, name="last")),
            gate.y.valid.eq(self.is_y),
            self.o.p.eq(gate.o.p),
            self.o.valid.eq(gate.o.valid),
        ]
        with m.If(self.command.glu):
            m.d.comb += self.o.p.first.eq(0)
        return m
