"""Element path: from words of row sums to words of a stage's output vector, one per cycle."""

import dataclasses

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.elements.lane import ElementLane
from tritstream_hw.elements.layouts import ELEMENTS, SCALE, SCALES, flow, results_layout
from tritstream_hw.elements.ports import (
    rows_port,
    state_rows_read_port,
    state_rows_write_port,
    vector_rows_write_port,
)
from tritstream_hw.gemv.layouts import sums_layout
from tritstream_hw.stream.delay import delay

__all__ = ["ElementPath"]


class ElementPath(wiring.Component):
    """`E` lanes side by side, and the memories that their rows come from and go to.

    Throughput is a word of rows per cycle. What is under way is never stalled; rows wait only for
    their scales.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    element_width : int
        `E`.
    max_state : int
        Elements of the recurrent state.
    vector_elements : int
        Elements of the vector memory.
    z_base : int
        Where z begins in it.

    Members
    -------
    command : :py:`In(stream.Signature(ELEMENTS))`
        What to do. Taken with the last element of the vector.
    sums, row : :py:`In(stream.Signature(sums_layout(acc_bits, E)))`
        Row sums, and elements of an embedding row; the command says which of them are taken.
    scales : :py:`In(stream.Signature(SCALES))`, row_scale : :py:`In(stream.Signature(SCALE))`
        What they are scaled by. Taken with the command.
    x, keep : :py:`In(ReadPort.Signature(...))`
        Residual, and one minus the lower bound, of a word of rows.
    state_read : :py:`In(ReadPort.Signature(...))`, state_write : :py:`In(WritePort.Signature(...))`
        Recurrent state of a word of rows. That of a row is written before its element leaves.
    write : :py:`In(WritePort.Signature(...))`
        Elements of the output vector, to x or z.
    o : :py:`Out(flow(results_layout(E)))`
        The same elements.
    """

    def __init__(self, *, acc_bits: int, element_width: int, max_state: int, vector_elements: int,
                 z_base: int):
        self._width, self._z_base = element_width, z_base
        sums = stream.Signature(sums_layout(acc_bits, element_width))
        super().__init__({
            "command":     In(stream.Signature(ELEMENTS)),
            "sums":        In(sums),
            "scales":      In(stream.Signature(SCALES)),
            "row":         In(sums),
            "row_scale":   In(stream.Signature(SCALE)),
            "x":           In(rows_port(signed(FORMATS.vector_bits), element_width)),
            "keep":        In(rows_port(unsigned(FORMATS.gain_bits), element_width)),
            "state_read":  In(state_rows_read_port(max_state, element_width)),
            "state_write": In(state_rows_write_port(max_state, element_width)),
            "write":       In(vector_rows_write_port(vector_elements, element_width)),
            "o":           Out(flow(results_layout(element_width))),
        })
        self._lanes = [ElementLane(acc_bits=acc_bits) for _ in range(element_width)]

    def elaborate(self, platform):
        m = Module()
        sums, scales = Signal(self.sums.payload.shape()), Signal(SCALES)
        taken, ends = Signal(), Signal()
        command = self.command.p
        m.d.comb += [
            ends.eq(self.o.valid & self.o.p.last),
            self.command.ready.eq(ends),
            scales.eq(self.scales.payload),
        ]
        with m.If(command.embed):
            m.d.comb += scales[0].eq(self.row_scale.payload)
            self._take(m, self.row, self.row_scale, sums, taken, ends)
        with m.Else():
            self._take(m, self.sums, self.scales, sums, taken, ends)
        m.d.sync += Assert(self.command.valid | ~self.o.valid, "an element without a command")

        for n, lane in enumerate(self._lanes):
            m.submodules[f"lane{n}"] = lane
            m.d.comb += [
                lane.command.eq(command),
                lane.scales.eq(scales),
                lane.sums.eq(sums.rows[n]),
                lane.x.eq(self.x.data[n]),
                lane.keep.eq(self.keep.data[n]),
                lane.h.eq(self.state_read.data[n]),
                self.state_write.data[n].eq(lane.state),
                self.o.p.rows[n].eq(lane.o),
                self.write.data[n].eq(lane.o.value),
            ]
        self._follow(m, _Place(live=sums.live & taken.replicate(self._width), word=sums.word,
                               last=sums.last))
        return m

    def _take(self, m, source, scales, sums, taken, ends):
        """Take rows of this stream while their scales are there."""
        m.d.comb += [
            sums.eq(source.p),
            taken.eq(source.valid & source.ready),
            source.ready.eq(self.command.valid & scales.valid),
            scales.ready.eq(ends),
        ]

    def _follow(self, m, taken):
        """Address the memories as rows pass; each leaves the lanes where its operation ends."""
        command, lane = self.command.p, self._lanes[0]
        at_row = taken.after(m, lane.row_delay - 1, name="row")
        residual = at_row.after(m, lane.residual_latency - (lane.row_delay - 1), name="residual")
        at_h = residual.only(command.mixes).after(
            m, lane.h_delay - 2 - lane.residual_latency, name="h")
        glu = at_h.after(m, lane.glu_latency - (lane.h_delay - 2), name="glu")
        at_state = glu.only(~command.glu).after(
            m, lane.state_latency - 1 - lane.glu_latency, name="state")
        written = at_state.after(m, 1, name="written")
        mlgru = written.after(m, lane.mlgru_latency - lane.state_latency, name="mlgru")

        # The state's address is registered: a sum, to a large memory that may be far away.
        shift = exact_log2(self._width)
        m.d.sync += [
            self.state_read.addr.eq(command.state_base + (at_h.word << shift)),
            self.state_write.addr.eq(command.state_base + (at_state.word << shift)),
        ]
        ends = _Place.choose(command.mixes, _Place.choose(command.glu, glu, mlgru), residual)
        m.d.comb += [
            self.x.en.eq(at_row.live.any() & ~command.mixes & ~command.embed),
            self.x.addr.eq(at_row.word),
            self.keep.addr.eq(at_row.word),
            self.state_write.en.eq(written.live),
            self.o.valid.eq(ends.live.any()),
            self.o.p.live.eq(ends.live),
            self.o.p.word.eq(ends.word),
            self.o.p.last.eq(ends.last),
            self.write.en.eq(ends.live),
            self.write.addr.eq(ends.word + Mux(command.mixes, self._z_base >> shift, 0)),
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the rows of a word are in their vector: what goes beside the lanes."""

    live: Value
    word: Value
    last: Value

    def after(self, m, cycles: int, *, name: str) -> "_Place":
        """Return it as it was so many cycles ago."""
        live = delay(m, self.live, cycles, name=f"{name}_live", reset_less=False)
        place = delay(m, Cat(self.word, self.last), cycles, name=f"{name}_place")
        return _Place(live=live, word=place[:-1], last=place[-1])

    def only(self, when: Value) -> "_Place":
        """Return it, or no rows at all."""
        return dataclasses.replace(self, live=Mux(when, self.live, 0))

    @classmethod
    def choose(cls, which: Value, one: "_Place", other: "_Place") -> "_Place":
        """Return one of two places."""
        return cls(**{field.name: Mux(which, getattr(one, field.name), getattr(other, field.name))
                      for field in dataclasses.fields(cls)})
