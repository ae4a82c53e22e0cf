"""Element path: from words of row sums to words of a stage's output vector, one per cycle."""

import dataclasses

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.elements.lane import ElementLane
from tritstream_hw.elements.layouts import (
    ELEMENTS,
    SCALE,
    flow,
    results_layout,
    scales_layout,
)
from tritstream_hw.elements.ports import (
    rows_port,
    state_rows_read_port,
    state_rows_write_port,
    vector_rows_write_port,
)
from tritstream_hw.elements.turn import turned
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.layouts import lanes_layout, sums_layout
from tritstream_hw.stream.delay import delay

__all__ = ["ElementPath"]


class ElementPath(wiring.Component):
    """`E` rows side by side, of one token, and the memories that they come from and go to.

    Throughput is a word of rows per cycle, or in four. What is under way is never stalled; rows
    wait only for their scales and, with four cycles, for the first of these.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    element_width : int
        `E`.
    element_cycles : int
        Cycles from a word of rows to the next: 1, or 4 if there is one lane.
    max_state : int
        Elements of the recurrent state.
    vector_elements : int
        Elements of the vector memory.
    z_base : int
        Where z begins in it.
    lanes, slots : int
        `T`, and states that are kept between passes.

    Members
    -------
    command : :py:`In(stream.Signature(ELEMENTS))`
        What to do. Taken with the last element of the last vector.
    lanes : :py:`In(lanes_layout(T, slots))`
        The tokens of the pass, stable while it is under way. The rows of one that follows the one
        before it have to come `ElementLane.chain_cycles` after those of that one.
    sums, row : :py:`In(stream.Signature(sums_layout(acc_bits, E, T)))`
        Row sums, and elements of an embedding row; the command says which of them are taken.
    scales : :py:`In(stream.Signature(scales_layout(T)))`
        What they are scaled by. Taken with the command, as are
    row_scales : :py:`In(stream.Signature(data.ArrayLayout(SCALE, T)))`
        those of embedding rows.
    x, keep : :py:`In(ReadPort.Signature(...))`
        Residual, and one minus the lower bound, of a word of rows.
    state_read : :py:`In(ReadPort.Signature(...))`, state_write : :py:`In(WritePort.Signature(...))`
        Recurrent state of a word of rows. That of a row is written before its element leaves.
    write : :py:`In(WritePort.Signature(...))`
        Elements of the output vector, to x or z.
    o : :py:`Out(flow(results_layout(E, T)))`
        The same elements.
    ahead : :py:`Out(flow(16))`
        The number of the word that `o` has in the next cycle.
    """

    def __init__(self, *, acc_bits: int, element_width: int, max_state: int, vector_elements: int,
                 z_base: int, element_cycles: int = 1, lanes: int = 1, slots: int = 1):
        self._width, self._z_base, self._cycles = element_width, z_base, element_cycles
        self._row_bits = ceil_log2(vector_elements // element_width)
        self._state_bits = ceil_log2(max_state)
        sums = stream.Signature(sums_layout(acc_bits, element_width, lanes))
        super().__init__({
            "command":     In(stream.Signature(ELEMENTS)),
            "lanes":       In(lanes_layout(lanes, slots)),
            "sums":        In(sums),
            "scales":      In(stream.Signature(scales_layout(lanes))),
            "row":         In(sums),
            "row_scales":  In(stream.Signature(data.ArrayLayout(SCALE, lanes))),
            "x":           In(rows_port(signed(FORMATS.vector_bits), element_width, lanes)),
            "keep":        In(rows_port(unsigned(FORMATS.gain_bits), element_width)),
            "state_read":  In(state_rows_read_port(max_state, element_width, slots)),
            "state_write": In(state_rows_write_port(max_state, element_width, slots)),
            "write":       In(vector_rows_write_port(vector_elements, element_width, lanes)),
            "o":           Out(flow(results_layout(element_width, lanes))),
            "ahead":       Out(flow(16)),
        })
        self._lanes = [ElementLane(acc_bits=acc_bits, element_cycles=element_cycles)
                       for _ in range(element_width)]

    def elaborate(self, platform):
        m = Module()
        sums, begins, ends = Signal(self.sums.payload.shape()), Signal(), Signal()
        command, turn = self.command.p, Signal(range(self._cycles))
        m.d.sync += turn.eq(turn + 1)
        m.d.comb += [ends.eq(self.o.valid & self.o.p.last), self.command.ready.eq(ends)]
        with m.If(command.embed):
            self._take(m, self.row, self.row_scales, turn, sums, begins, ends)
        with m.Else():
            self._take(m, self.sums, self.scales, turn, sums, begins, ends)
        m.d.sync += Assert(self.command.valid | ~self.o.valid, "an element without a command")

        scales = self._scales(m, sums.lane, turn)
        for n, lane in enumerate(self._lanes):
            m.submodules[f"lane{n}"] = lane
            # An element of an embedding row is a sum of projection 0; what the others are then,
            # nobody looks at.
            parts = Signal(self.sums.p.rows[n].shape(), name=f"parts_{n}")
            m.d.comb += [
                parts.eq(self.sums.p.rows[n]),
                parts[0].eq(sums.rows[n][0]),
                lane.command.eq(command),
                lane.turn.eq(turn),
                lane.scales.eq(scales),
                lane.sums.eq(self._shared(parts, turn)),
                lane.x.eq(self.x.data[n]),
                lane.keep.eq(self.keep.data[n]),
                lane.h.eq(self.state_read.data[n]),
                self.state_write.data[n].eq(lane.state),
                self.o.p.rows[n].eq(lane.o),
                self.write.data[n].eq(lane.o.value),
            ]
        self._follow(m, _Place(live=sums.live & begins.replicate(self._width), word=sums.word,
                               lane=sums.lane, last=sums.last))
        return m

    def _shared(self, parts, turn) -> Value:
        """Return a part for each projection, or that of the projection whose turn it is."""
        return Value.cast(parts if self._cycles == 1 else parts[turn])

    def _scales(self, m, lane, turn) -> data.View:
        """Return the scales of a token, each part of them when the dequantiser takes it."""
        tables = Signal(self.scales.payload.shape())
        m.d.comb += tables.eq(self.scales.payload)
        with m.If(self.command.p.embed):
            m.d.comb += [table[0].eq(scale)
                         for table, scale in zip(tables, self.row_scales.payload, strict=True)]

        def of(lane, cycles: int) -> data.View:
            """Those of a token, of what had its turn so many cycles ago."""
            return data.View(shape, self._shared(tables[lane], turned(turn, cycles)))

        cycles, shape = self._lanes[0].shift_delay, self._lanes[0].scales.shape()
        late = delay(m, lane, cycles, name="late")
        later = delay(m, late, 1, name="later")
        mantissas, coarse, fine = of(lane, 0), of(late, cycles), of(later, cycles + 1)
        scales = Signal(shape)
        for n, scale in enumerate(scales):
            m.d.comb += [
                scale.mantissa.eq(mantissas[n].mantissa),
                scale.shift[3:].eq(coarse[n].shift[3:]),
                scale.shift[:3].eq(fine[n].shift[:3]),
            ]
        return scales

    def _take(self, m, source, scales, turn, sums, begins, ends):
        """Take rows of this stream while their scales are there.

        An offer stands until it is taken: if the projections of a row share a dequantiser, the row
        begins with the first of them, and is taken with the last.
        """
        offered, begun = Signal(), Signal()
        m.d.comb += [
            sums.eq(source.p),
            offered.eq(self.command.valid & scales.valid),
            begins.eq(source.valid & offered & (turn == 0)),
            source.ready.eq(offered if self._cycles == 1 else begun & (turn == VECTORS - 1)),
            scales.ready.eq(ends),
        ]
        with m.If(turn == 0):
            m.d.sync += begun.eq(begins)

    def _follow(self, m, taken):
        """Address the memories as rows pass; each leaves the lanes where its operation ends."""
        command, lane = self.command.p, self._lanes[0]
        # The last three are a cycle ahead of their elements.
        at_row = taken.after(m, lane.row_delay - 1, name="row")
        residual = at_row.after(m, lane.residual_latency - lane.row_delay, name="residual")
        at_h = residual.only(command.mixes).after(
            m, lane.h_delay - 1 - lane.residual_latency, name="h")
        glu = at_h.after(m, lane.glu_latency - (lane.h_delay - 1), name="glu")
        at_state = glu.only(~command.glu).after(
            m, lane.state_latency - lane.glu_latency, name="state")
        written = at_state.after(m, 1, name="written")
        mlgru = written.after(m, lane.mlgru_latency - lane.state_latency - 1, name="mlgru")

        # The state's address is registered: a sum, to a large memory that may be far away.
        shift, table = exact_log2(self._width), self.lanes.table
        for port, place in ((self.state_read, at_h), (self.state_write, at_state)):
            element = (command.state_base + (place.word << shift))[:self._state_bits]
            m.d.sync += port.addr.eq(Cat(element, table[place.lane].slot))
        with_h = at_h.after(m, 2, name="with_h")
        chained = table[with_h.lane].follows & with_h.live.any() & ~command.glu
        before = with_h.after(m, lane.chain_cycles, name="before")
        m.d.sync += Assert(~chained | (before.live.any() & (before.word == with_h.word)
                                       & (before.lane + 1 == with_h.lane)),
                           "a row goes on from the state of another")
        for element_lane in self._lanes:
            m.d.comb += [element_lane.fresh.eq(table[with_h.lane].fresh),
                         element_lane.follows.eq(table[with_h.lane].follows)]
        ahead = _Place.choose(command.mixes, _Place.choose(command.glu, glu, mlgru), residual)
        ends = ahead.after(m, 1, name="ends")
        m.d.comb += [
            self.ahead.valid.eq(ahead.live.any()),
            self.ahead.payload.eq(ahead.word),
            self.x.en.eq(at_row.live.any() & ~command.mixes & ~command.embed),
            self.x.addr.eq(Cat(at_row.word, at_row.lane)),
            self.keep.addr.eq(at_row.word),
            self.state_write.en.eq(written.live),
            self.o.valid.eq(ends.live.any()),
            self.o.p.live.eq(ends.live),
            self.o.p.word.eq(ends.word),
            self.o.p.lane.eq(ends.lane),
            self.o.p.last.eq(ends.last),
            self.write.en.eq(ends.live),
            self.write.addr.eq(Cat((ends.word + Mux(command.mixes, self._z_base >> shift, 0))
                                   [:self._row_bits], ends.lane)),
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the rows of a word are in their vector: what goes beside the lanes."""

    live: Value
    word: Value
    lane: Value
    last: Value

    def after(self, m, cycles: int, *, name: str) -> "_Place":
        """Return it as it was so many cycles ago."""
        live = delay(m, self.live, cycles, name=f"{name}_live", reset_less=False)
        words = len(self.word)
        place = delay(m, Cat(self.word, self.lane, self.last), cycles, name=f"{name}_place")
        return _Place(live=live, word=place[:words], lane=place[words:-1], last=place[-1])

    def only(self, when: Value) -> "_Place":
        """Return it, or no rows at all."""
        return dataclasses.replace(self, live=Mux(when, self.live, 0))

    @classmethod
    def choose(cls, which: Value, one: "_Place", other: "_Place") -> "_Place":
        """Return one of two places."""
        return cls(**{field.name: Mux(which, getattr(one, field.name), getattr(other, field.name))
                      for field in dataclasses.fields(cls)})
