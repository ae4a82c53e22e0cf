"""Cuts the items of a reply into bytes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.control.messages import ITEM

__all__ = ["ReplySerialiser", "item"]


def item(*values) -> Value:
    """Return an :py:`ITEM` of these values, whose widths are whole bytes, the first one first."""
    bits = Cat(*values)
    return Cat(C(len(bits) // 8, 4), bits)


class ReplySerialiser(wiring.Component):
    """One byte per cycle, with no gap between items; the first byte a cycle after its item.

    Members
    -------
    i : :py:`In(stream.Signature(ITEM))`
        Items of one to eight bytes.
    o : :py:`Out(stream.Signature(8))`
        Bytes.
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(ITEM)),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        left, shift = Signal(4), Signal(64)
        m.d.comb += [
            self.o.valid.eq(left != 0),
            self.o.payload.eq(shift[:8]),
            self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [left.eq(left - 1), shift.eq(shift[8:])]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [left.eq(self.i.p.bytes), shift.eq(self.i.p.data)]
        return m
