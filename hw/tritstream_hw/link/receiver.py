"""Incoming half of the link: from frames to an ordered stream of bytes."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import DEVICE_ROOM, MAX_PAYLOAD, Kind
from tritstream_hw.link.frame import HEADER
from tritstream_hw.stream.reader import Reader

__all__ = ["Receiver"]

RING = DEVICE_ROOM * MAX_PAYLOAD


class Receiver(wiring.Component):
    """Keeps the payloads that are whole and in order.

    A payload is written to a ring memory as it comes. Only a right CRC makes it part of the stream;
    otherwise the write pointer rolls back. The stream yields one byte per cycle.

    Members
    -------
    header, begin, good, bad, payload, payload_valid
        From the :class:`Deframer`.
    clear : :py:`In(1)`
        Forget everything received; the next sequence number is 0.
    o : :py:`Out(stream.Signature(8))`
        The stream.
    expected, credit : :py:`Out(8)`
        Sequence number of the next frame, and frames from there on that there is room for.
    accepted, repeated, gap : :py:`Out(1)`
        Strobes: a payload joined the stream; one was dropped that has to be acknowledged again; one
        before it is missing.
    """

    def __init__(self):
        super().__init__({
            "header": In(HEADER),
            "begin": In(1),
            "good": In(1),
            "bad": In(1),
            "payload": In(8),
            "payload_valid": In(1),
            "clear": In(1),
            "o": Out(stream.Signature(8)),
            "expected": Out(8),
            "credit": Out(8, init=DEVICE_ROOM),
            "accepted": Out(1),
            "repeated": Out(1),
            "gap": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=8, depth=RING, init=[])
        write, read = ring.write_port(), ring.read_port()

        # Pointers have one bit more than an address: full and empty are told apart.
        head, end, tail = (Signal(range(2 * RING), name=name) for name in ("head", "end", "tail"))
        room = Signal(range(RING + 1), init=RING)      # a cycle late, so never too large
        keep = Signal()
        m.d.sync += room.eq(RING - (head - tail)[:len(head)])
        m.d.comb += self.credit.eq(room >> (MAX_PAYLOAD - 1).bit_length())

        with m.If(self.begin):
            m.d.sync += end.eq(head)
            m.d.sync += keep.eq((self.header.kind == Kind.DATA)
                                & (self.header.seq == self.expected)
                                & (self.header.length <= room))
        m.d.comb += [
            write.addr.eq(end),
            write.data.eq(self.payload),
            write.en.eq(self.payload_valid & keep),
        ]
        with m.If(write.en):
            m.d.sync += end.eq(end + 1)

        ahead = (self.header.seq - self.expected)[:8]
        with m.If(self.good & (self.header.kind == Kind.DATA)):
            m.d.comb += self.accepted.eq(keep)
            m.d.comb += self.gap.eq(~keep & (ahead != 0) & ~ahead[-1])
            m.d.comb += self.repeated.eq(~keep & ((ahead == 0) | ahead[-1]))
        with m.If(self.accepted):
            m.d.sync += head.eq(end)
            m.d.sync += self.expected.eq(self.expected + 1)

        reader = Reader(len(read.addr), 8)
        m.submodules.reader = ResetInserter(self.clear)(reader)
        wiring.connect(m, reader.memory, read)
        wiring.connect(m, reader.o, wiring.flipped(self.o))
        m.d.comb += [reader.i.valid.eq(tail != head), reader.i.payload.eq(tail)]
        with m.If(reader.i.valid & reader.i.ready):
            m.d.sync += tail.eq(tail + 1)

        with m.If(self.clear):
            for register in head, end, tail, self.expected, keep:
                m.d.sync += register.eq(0)
            m.d.sync += room.eq(RING)
        return m
