"""Reader of the tape: takes it apart into headers, gain banks, trits and embedding rows."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import HEADER_BYTES
from tritstream.image.tape import Op
from tritstream_hw.construct import construct
from tritstream_hw.memory.port import beat_layout, played_layout
from tritstream_hw.tape.judge import HeaderJudge
from tritstream_hw.tape.layouts import HEADER_LAYOUT

__all__ = ["TapeReader"]


class TapeReader(wiring.Component):
    """Routes the beats of the tape by the sections' headers.

    A header is collected and offered three cycles later; once it has been taken, the section's gain
    banks and its body follow on streams of their own, at one stripe per cycle, and then the next
    header is collected. Of a stripe, header, banks and rows have the flat part.

    `bad` goes up until a reset if a header makes no sense, see :class:`HeaderJudge`, or if a pass
    has been played to its last beat and more is wanted. Beats behind a bad header are dropped.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build: a header is held against all of its maxima.

    Members
    -------
    start : :py:`In(1)`
        Strobe: the beats of a pass come next.
    beats : :py:`In(stream.Signature(played_layout(G P)))`
        Tape, stripe by stripe.
    header : :py:`Out(stream.Signature(HEADER_LAYOUT))`
        Header of the next section. Its payload stays until the next header is offered.
    banks : :py:`Out(stream.Signature(beat_layout(flat_bytes)))`
        Gain banks.
    trits : :py:`Out(stream.Signature(beat_layout(G P)))`
        Packed trits.
    row : :py:`Out(stream.Signature(beat_layout(flat_bytes)))`
        Embedding row, behind the first section.
    row_done : :py:`In(1)`
        Strobe: the row's last beat has been used.
    collecting : :py:`Out(1)`
        What is taken is a header.
    stalled : :py:`Out(1)`
        In the cycle before, a beat was wanted and none was there. A header is collected ahead: its
        beats are wanted only when `header` is waited for.
    complete : :py:`Out(1)`
        The last beat of the pass was the last of a section.
    bad : :py:`Out(1)`
        The tape makes no sense to this build.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        flat = stream.Signature(beat_layout(config.flat_bytes))
        super().__init__({
            "start":    In(1),
            "beats":    In(stream.Signature(played_layout(config.stripe_bytes))),
            "header":   Out(stream.Signature(HEADER_LAYOUT)),
            "banks":    Out(flat),
            "trits":    Out(stream.Signature(beat_layout(config.stripe_bytes))),
            "row":      Out(flat),
            "row_done": In(1),
            "collecting": Out(1),
            "stalled":  Out(1),
            "complete": Out(1),
            "bad":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        stripes = self._config.stripes
        header_beats = stripes.unit_stripes
        unit_bits = exact_log2(header_beats)                # of the number of beats in a unit
        width = min(HEADER_BYTES, stripes.flat_bytes)       # bytes of a beat that a header has
        fields = -(-HEADER_LAYOUT.size // (8 * width))      # beats before its padding

        unit, collected = Signal(8 * width * fields), Signal(range(header_beats + 1))
        header = Signal(HEADER_LAYOUT)
        m.submodules.judge = judge = construct(HeaderJudge, self._config)
        m.d.comb += [
            header.eq(unit[:HEADER_LAYOUT.size]),
            self.header.payload.eq(header),
            judge.header.eq(header),
        ]

        taken, exhausted = Signal(), Signal()
        m.d.comb += taken.eq(self.beats.valid & self.beats.ready)
        m.d.comb += [sink.p[n].eq(octet) for sink in (self.banks, self.trits, self.row)
                     for n, octet in enumerate(self.beats.p.data) if n < len(sink.p)]
        m.d.sync += self.stalled.eq(self.beats.ready & ~self.beats.valid
                                    & (~self.collecting | self.header.ready))
        with m.If(taken):
            m.d.sync += exhausted.eq(self.beats.p.last)
        with m.If(self.start):
            m.d.sync += exhausted.eq(0)

        def forward(sink):
            return [sink.valid.eq(self.beats.valid), self.beats.ready.eq(sink.ready)]

        banks_left = Signal.like(judge.bank_units << unit_bits)     # beats
        body_left = Signal.like(judge.body_units << unit_bits)
        banks_more = Signal()                                       # there are any
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += [self.beats.ready.eq(1), self.collecting.eq(1),
                             self.complete.eq(exhausted & (collected == 0))]
                with m.If(taken):
                    m.d.sync += collected.eq(collected + 1)
                    with m.If(collected < fields):
                        beat = self.beats.p.data.as_value()[:8 * width]
                        m.d.sync += unit.eq(Cat(unit, beat)[8 * width:])
                    with m.If(collected == header_beats - 1):
                        m.d.sync += collected.eq(0)
                        m.next = "LIMITS"
            with m.State("LIMITS"):
                m.next = "MEASURE"
            with m.State("MEASURE"):
                m.next = "COUNTED"
                with m.If(~judge.fits):
                    m.next = "BAD"
            with m.State("COUNTED"):
                m.d.sync += [
                    banks_left.eq(judge.bank_units << unit_bits),
                    banks_more.eq(judge.bank_units != 0),
                    body_left.eq(judge.body_units << unit_bits),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.header.valid.eq(1)
                m.d.sync += [
                    Assert(judge.fits, "a header was judged before its limits were known"),
                    Assert((banks_left == judge.bank_units << unit_bits)
                           & (body_left == judge.body_units << unit_bits),
                           "a section was measured before its length was known"),
                ]
                with m.If(self.header.ready):
                    m.next = "BANKS"
            with m.State("BANKS"):
                units = 1 + judge.bank_units + judge.body_units
                m.d.sync += Assert(judge.consistent == (header.units == units),
                                   "a header was judged before its length was known")
                with m.If(~judge.consistent):
                    m.next = "BAD"
                with m.Elif(~banks_more):
                    m.next = "BODY"
                    with m.If(header.op == Op.EMBED):
                        m.next = "ROW"
                with m.Else():
                    m.d.comb += forward(self.banks)
                    with m.If(taken):
                        m.d.sync += [banks_left.eq(banks_left - 1), banks_more.eq(banks_left != 1)]
            with m.State("BODY"):
                m.d.comb += forward(self.trits)
                with m.If(taken):
                    m.d.sync += body_left.eq(body_left - 1)
                    with m.If(body_left == 1):
                        m.next = "HEADER"
            with m.State("ROW"):
                m.d.comb += forward(self.row)
                with m.If(self.row_done):
                    m.next = "HEADER"
            with m.State("BAD"):
                m.d.comb += self.beats.ready.eq(1)
                m.d.sync += self.bad.eq(1)

        # Whatever is wanted now will not come.
        with m.If(self.stalled & exhausted):
            m.d.sync += self.bad.eq(1)
        return m
