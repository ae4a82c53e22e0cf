"""Reader of embedding rows: bytes to elements."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import ALIGNMENT, FORMATS
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES

__all__ = ["RowReader", "row_element_layout"]


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
        position = Signal(exact_log2(ALIGNMENT))    # in what is padded
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
