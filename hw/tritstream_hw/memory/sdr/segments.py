"""Commands of the memory port, cut where a page ends."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream_hw.memory.port import MOST_BEATS, beat_layout, command_layout
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.pads import BURST

__all__ = ["Segments", "segment_layout"]

IN_BURST = exact_log2(BURST)


def segment_layout(chip: SdrChip, beat_bytes: int) -> data.StructLayout:
    """Layout of what is read, or written, of one page.

    A page is a row of a bank; the next page is the same row of the next bank. A read begins at word
    `column` and ends with word `last` of the burst that is `bursts` behind the first one's. A write
    is of one beat, `data`.
    """
    return data.StructLayout({
        "write": 1,
        "bank": chip.bank_bits,
        "row": chip.row_bits,
        "column": chip.column_bits,
        "bursts": chip.column_bits - IN_BURST,
        "last": IN_BURST,
        "data": beat_layout(beat_bytes),
    })


class Segments(wiring.Component):
    """Cuts commands into segments, the first five cycles after its command.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    beat_bytes : int
        `P`, a multiple of the bytes of a word; a beat does not cross the end of a page.

    Members
    -------
    i : :py:`In(stream.Signature(command_layout(P)))`
        Commands.
    o : :py:`Out(stream.Signature(segment_layout(chip, P)))`
        Their segments.
    """

    def __init__(self, *, chip: SdrChip, beat_bytes: int):
        self._chip = chip
        self._words = beat_bytes // chip.word_bytes
        super().__init__({
            "i": In(stream.Signature(command_layout(beat_bytes))),
            "o": Out(stream.Signature(segment_layout(chip, beat_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        chip, shift = self._chip, exact_log2(self._words)
        address = data.StructLayout({"column": chip.column_bits,
                                     "page": chip.bank_bits + chip.row_bits})
        command = Signal.like(self.i.payload)
        first, last, final = Signal(address), Signal(address), Signal()
        further = Signal(range(MOST_BEATS << shift))        # words behind the first one
        m.d.comb += [
            self.o.p.write.eq(command.write),
            self.o.p.data.eq(command.data),
            Cat(self.o.p.bank, self.o.p.row).eq(first.page),
            self.o.p.column.eq(first.column),
            self.o.p.bursts.eq(Mux(final, last.column[IN_BURST:], -1) - first.column[IN_BURST:]),
            self.o.p.last.eq(Mux(final, last.column[:IN_BURST], -1)),
        ]
        with m.FSM():
            with m.State("Empty"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += command.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.next = "Measure"
            with m.State("Measure"):
                m.d.sync += [first.as_value().eq(command.beat << shift),
                             further.eq((command.beats << shift) - 1)]
                m.next = "Add"
            with m.State("Add"):
                m.d.sync += last.as_value().eq(first.as_value() + further)
                m.next = "Cut"
            with m.State("Cut"):
                m.d.sync += final.eq(first.page == last.page)
                m.next = "Offer"
            with m.State("Offer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [first.page.eq(first.page + 1), first.column.eq(0)]
                    with m.If(final):
                        m.next = "Empty"
                    with m.Else():
                        m.next = "Cut"
        return m
