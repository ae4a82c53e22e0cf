"""Reader of the tape: takes it apart into headers, gain banks, trits and embedding rows."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, UNIT
from tritstream.image.tape import HEADER_FIELDS, MAGIC, ROW_PREFIX, WIDE_BYTES, Op

__all__ = ["HEADER_LAYOUT", "RowReader", "TapeReader", "row_element_layout"]

HEADER_LAYOUT = data.StructLayout({
    name: signed(bits) if is_signed else unsigned(bits) for name, bits, is_signed in HEADER_FIELDS})
"""Layout of a section's header; what is left of its unit is padding."""


def row_element_layout() -> data.StructLayout:
    """Layout of an element of an embedding row."""
    return data.StructLayout({"acc": signed(8 * WIDE_BYTES), "row": 16, "last": 1})


class RowReader(wiring.Component):
    """Takes an embedding row apart: one scale for the dequantiser, then int8 or 24-bit elements.

    Throughput is one byte per cycle. Padding behind the elements is taken and dropped.

    Members
    -------
    start : :py:`In(1)`
        Strobe: a row of `rows` elements comes next on `beats`.
    rows : :py:`In(16)`
        Elements; has to be stable until `done`.
    beats : :py:`In(stream.Signature(data.ArrayLayout(8, P)))`
        Tape.
    mantissa : :py:`Out(16)`, shift : :py:`Out(6)`
        Scale of the row; stable while its elements come.
    o : :py:`Out(stream.Signature(row_element_layout()))`
        Elements.
    done : :py:`Out(1)`
        Strobe with the last beat of the row's padding.
    """

    def __init__(self, config: BuildConfig):
        self.config = config
        super().__init__({
            "start":    In(1),
            "rows":     In(16),
            "beats":    In(stream.Signature(data.ArrayLayout(8, config.beat_bytes))),
            "mantissa": Out(FORMATS.mantissa_bits),
            "shift":    Out(FORMATS.shift_bits),
            "o":        Out(stream.Signature(row_element_layout())),
            "done":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.beat_bytes

        beat = Signal(8 * width)
        left = Signal(range(width + 1))         # bytes of `beat` not used yet
        position = Signal(exact_log2(UNIT))     # in the unit
        prefix_left = Signal(range(ROW_PREFIX + 1))
        row = Signal(16)                        # of the next element
        wide, there, low = Signal(), Signal(range(WIDE_BYTES)), Signal(8 * (WIDE_BYTES - 1))
        running = Signal()
        byte = beat[:8]
        in_row, completes, used = Signal(), Signal(), Signal()
        m.d.comb += [
            in_row.eq((prefix_left == 0) & (row != self.rows)),
            completes.eq(in_row & (~wide | (there == WIDE_BYTES - 1))),
            self.o.valid.eq(running & (left != 0) & completes),
            self.o.p.acc.eq(Mux(wide, Cat(low, byte), byte.as_signed())),
            self.o.p.row.eq(row),
            self.o.p.last.eq(row + 1 == self.rows),
            used.eq(running & (left != 0) & (~completes | self.o.ready)),
            self.beats.ready.eq(running & (left == 0)),
            self.done.eq(used & position.all()
                         & ((row == self.rows) | (completes & self.o.p.last))),
        ]

        with m.If(self.start):
            m.d.sync += [running.eq(1), position.eq(0), left.eq(0), row.eq(0), there.eq(0),
                         prefix_left.eq(ROW_PREFIX)]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [beat.eq(self.beats.payload), left.eq(width)]
        with m.If(used):
            m.d.sync += [beat.eq(beat >> 8), left.eq(left - 1), position.eq(position + 1)]
            with m.If(in_row):
                m.d.sync += [low.eq(Cat(low, byte)[8:]), there.eq(there + 1),
                             row.eq(row + completes)]
                with m.If(completes):
                    m.d.sync += there.eq(0)
            with m.Elif(prefix_left != 0):
                prefix = Cat(self.mantissa, self.shift, Signal(2), wide)
                m.d.sync += prefix_left.eq(prefix_left - 1)
                for n in range(ROW_PREFIX):
                    with m.If(prefix_left == ROW_PREFIX - n):
                        m.d.sync += prefix[8 * n:8 * (n + 1)].eq(byte)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        return m


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

        unit = Signal(8 * UNIT)
        collected = Signal(range(UNIT // config.beat_bytes + 1))
        header = Signal(HEADER_LAYOUT)
        m.d.comb += [header.eq(unit[:HEADER_LAYOUT.size]), self.header.payload.eq(header)]

        banks_left = Signal(16 + 3)             # beats
        banks_more = Signal()                   # there are any
        bank_units, count = Signal(14), Signal(3)
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
                    with m.If(collected == UNIT // config.beat_bytes - 1):
                        m.d.sync += collected.eq(0)
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    bank_units.eq((header.rows + 31) >> 5),
                    count.eq(sum(header.banks[bit] for bit in range(5))),
                ]
                m.next = "BAD"
                with m.If(_fits(header, config)):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                # The product is of a few bits; a section's length is on the tape.
                m.d.sync += [
                    banks_left.eq((bank_units * count) << unit_bits),
                    body_left.eq((header.units - 1) << unit_bits),
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
