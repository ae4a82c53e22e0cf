"""Incoming half of the link: from frames to an ordered stream of bytes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import DEVICE_ROOM, MAX_PAYLOAD, Kind
from tritstream_hw.link.frame import HEADER
from tritstream_hw.stream.packet_queue import PacketQueue

__all__ = ["Receiver"]


class Receiver(wiring.Component):
    """Keeps the payloads that are whole and in order.

    A payload goes into the queue as it comes. Only a right CRC makes it part of the stream. The
    stream yields one byte per cycle.

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
        m.submodules.queue = queue = PacketQueue(8, DEVICE_ROOM * MAX_PAYLOAD)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        keep = Signal()
        with m.If(self.begin):
            m.d.sync += keep.eq((self.header.kind == Kind.DATA)
                                & (self.header.seq == self.expected)
                                & (self.header.length <= queue.room))
        m.d.comb += [
            queue.begin.eq(self.begin),
            queue.i.payload.eq(self.payload),
            queue.i.valid.eq(self.payload_valid & keep),
            queue.commit.eq(self.accepted),
            queue.clear.eq(self.clear),
            self.credit.eq(queue.room >> (MAX_PAYLOAD - 1).bit_length()),
        ]

        ahead = (self.header.seq - self.expected)[:8]
        with m.If(self.good & (self.header.kind == Kind.DATA)):
            m.d.comb += self.accepted.eq(keep)
            m.d.comb += self.gap.eq(~keep & (ahead != 0) & ~ahead[-1])
            m.d.comb += self.repeated.eq(~keep & ((ahead == 0) | ahead[-1]))
        with m.If(self.accepted):
            m.d.sync += self.expected.eq(self.expected + 1)

        with m.If(self.clear):
            m.d.sync += [self.expected.eq(0), keep.eq(0)]
        return m
