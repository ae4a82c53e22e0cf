"""Reader of the tape: takes it apart into headers, gain banks, trits and embedding rows."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, HEADER_BYTES, UNIT
from tritstream.image.tape import MAGIC, Op
from tritstream_hw.tape.layouts import HEADER_LAYOUT, padded_beats

__all__ = ["TapeReader"]


class TapeReader(wiring.Component):
    """Routes the beats of the tape by the sections' headers.

    A header is collected and offered; once it has been taken, the section's gain banks and its body
    follow on streams of their own, at one beat per cycle, and then the next header is collected. A
    section with a magic number, operation or dimension that this build cannot have is never
    offered: `bad` goes up, and all further beats are dropped until a reset.

    Members
    -------
    beats : :py:`In(stream.Signature(data.ArrayLayout(8, P)))`
        Tape.
    header : :py:`Out(stream.Signature(HEADER_LAYOUT))`
        Header of the next section. Its payload stays until the next header is offered.
    banks : :py:`Out(stream.Signature(data.ArrayLayout(8, P)))`
        Gain banks.
    trits : :py:`Out(stream.Signature(data.ArrayLayout(8, P)))`
        Packed trits.
    row : :py:`Out(stream.Signature(data.ArrayLayout(8, P)))`
        Embedding row, behind the first section.
    row_done : :py:`In(1)`
        Strobe: the row's last beat has been used.
    collecting : :py:`Out(1)`
        What is taken is a header.
    bad : :py:`Out(1)`
        The tape is none, or needs a larger build.
    """

    def __init__(self, config: BuildConfig):
        self.config = config
        beats = stream.Signature(data.ArrayLayout(8, config.beat_bytes))
        super().__init__({
            "beats":    In(beats),
            "header":   Out(stream.Signature(HEADER_LAYOUT)),
            "banks":    Out(beats),
            "trits":    Out(beats),
            "row":      Out(beats),
            "row_done": In(1),
            "collecting": Out(1),
            "bad":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        unit_bits = exact_log2(UNIT // config.beat_bytes)     # of the number of beats in a unit

        unit = Signal(8 * HEADER_BYTES)
        collected = Signal(range(HEADER_BYTES // config.beat_bytes + 1))
        header = Signal(HEADER_LAYOUT)
        m.d.comb += [header.eq(unit[:HEADER_LAYOUT.size]), self.header.payload.eq(header)]

        banks_left = Signal(18 + 3)             # beats
        banks_more = Signal()                   # there are any
        bank_beats, count = Signal(18), Signal(3)
        body_left = Signal(32)                  # beats
        taken = Signal()
        m.d.comb += taken.eq(self.beats.valid & self.beats.ready)

        m.d.comb += [sink.payload.eq(self.beats.payload)
                     for sink in (self.banks, self.trits, self.row)]

        def forward(sink):
            return [sink.valid.eq(self.beats.valid), self.beats.ready.eq(sink.ready)]

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += [self.beats.ready.eq(1), self.collecting.eq(1)]
                with m.If(self.beats.valid):
                    m.d.sync += [
                        unit.eq(Cat(unit, self.beats.payload)[8 * config.beat_bytes:]),
                        collected.eq(collected + 1),
                    ]
                    with m.If(collected == HEADER_BYTES // config.beat_bytes - 1):
                        m.d.sync += collected.eq(0)
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    bank_beats.eq(padded_beats(header.rows, FORMATS.gain_bits, config.beat_bytes)),
                    count.eq(sum(header.banks[bit] for bit in range(5))),
                ]
                m.next = "BAD"
                with m.If(_fits(header, config)):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                # The product is of a few bits; a section's length is on the tape.
                m.d.sync += [
                    banks_left.eq(bank_beats * count),
                    body_left.eq((header.units - HEADER_BYTES // UNIT) << unit_bits),
                ]
                m.next = "COUNTED"
            with m.State("COUNTED"):
                m.d.sync += banks_more.eq(banks_left != 0)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.header.valid.eq(1)
                with m.If(self.header.ready):
                    m.d.sync += body_left.eq(body_left - banks_left)
                    m.next = "BANKS"
            with m.State("BANKS"):
                with m.If(~banks_more):
                    m.next = "BODY"
                    with m.If(header.op == Op.EMBED):
                        m.next = "ROW"
                with m.Else():
                    m.d.comb += forward(self.banks)
                    m.d.sync += banks_left.eq(banks_left - taken)
                    with m.If(taken):
                        m.d.sync += banks_more.eq(banks_left != 1)
            with m.State("BODY"):
                m.d.comb += forward(self.trits)
                m.d.sync += body_left.eq(body_left - taken)
                with m.If(taken & (body_left == 1)):
                    m.next = "HEADER"
            with m.State("ROW"):
                m.d.comb += forward(self.row)
                with m.If(self.row_done):
                    m.next = "HEADER"
            with m.State("BAD"):
                m.d.comb += [self.bad.eq(1), self.beats.ready.eq(1)]
        return m


def _fits(header, config: BuildConfig):
    """Whether a header is one, and asks for no more than this build has."""
    state_fits = (header.op != Op.MLGRU) | (header.state_base + header.rows <= config.max_state)
    return (
        (header.magic == MAGIC) & (header.op <= max(Op))
        & (header.rows != 0) & (header.rows <= _most_rows(header.op, config))
        & (header.columns <= Mux(header.op == Op.RESIDUAL, config.max_columns, config.max_hidden))
        & state_fits & (header.units != 0)
    )


def _most_rows(op, config: BuildConfig):
    return Mux(op == Op.HEAD, config.max_vocab,
               Mux(op == Op.GLU, config.max_intermediate, config.max_hidden))
