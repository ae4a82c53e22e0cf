"""Bookkeeping of a go-back-N sender."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Kind
from tritstream_hw.link.frame import HEADER

__all__ = ["Window"]


class Window(wiring.Component):
    """Says which payload to send next, if any.

    Parameters
    ----------
    retry_cycles : int
        After so many cycles without progress everything unacknowledged is sent again, or, without
        credit, one payload is tried.

    Members
    -------
    header, good : :py:`In(HEADER)`, :py:`In(1)`
        A good frame has come from the other side. Its header has been there a cycle before.
    fill : :py:`In(8)`
        Sequence number behind the last closed payload.
    sent, sending : :py:`In(1)`
        Strobe: payload `next` is being sent; level: it still is.
    clear : :py:`In(1)`
        Both directions begin at 0, with the credit that `header` brings.
    base, next : :py:`Out(8)`
        Oldest payload not acknowledged; next one to send.
    due : :py:`Out(1)`
        Payload `next` should be sent.
    again : :py:`Out(1)`
        It has been sent before.
    """

    def __init__(self, *, retry_cycles: int):
        self._retry_cycles = retry_cycles
        super().__init__({
            "header": In(HEADER),
            "good": In(1),
            "fill": In(8),
            "sent": In(1),
            "sending": In(1),
            "clear": In(1),
            "base": Out(8),
            "next": Out(8),
            "due": Out(1),
            "again": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        limit = Signal(8)                    # behind the last payload that there is credit for
        newest = Signal(8)                   # behind the last payload ever sent
        probe = Signal()
        timer = Signal(range(self._retry_cycles + 1))
        credit = (limit - self.next)[:8]
        # Registered, and 0 in the cycle after anything has changed that could take it back.
        changes = Signal()
        m.d.sync += self.due.eq((self.next != self.fill) & ~changes
                                & (probe | ((credit != 0) & ~credit[-1])))
        m.d.comb += self.again.eq(self.next != newest)

        with m.If(self.sent):
            m.d.sync += [self.next.eq(self.next + 1), probe.eq(0)]
            with m.If(~self.again):
                m.d.sync += newest.eq(self.next + 1)

        m.d.comb += changes.eq(self.sent | self.good | self.clear)
        with m.If((self.base == self.fill) | self.sending):
            m.d.sync += timer.eq(0)
        with m.Elif(timer == self._retry_cycles):
            m.d.comb += changes.eq(1)
            m.d.sync += [self.next.eq(self.base), probe.eq(1), timer.eq(0)]
        with m.Elif(~self.due):
            m.d.sync += timer.eq(timer + 1)

        # The link does not reorder: the latest frame knows best. One that acknowledges what was
        # never sent is older than the last RESET.
        # What the numbers of a cycle before tell is as right: only a payload that just begins can
        # have come to those that were ever sent, and nobody has acknowledged that.
        acked = (self.header.ack - self.base)[:8]
        possible, progress, header = Signal(), Signal(), Signal.like(self.header)
        m.d.sync += [
            possible.eq(acked <= (newest - self.base)[:8]),
            progress.eq(acked != 0),
            header.eq(self.header),
            Assert(~self.good | (header == self.header), "a header comes with its frame's end"),
        ]
        ahead = (self.next - self.header.ack)[:8]      # negative if it acknowledges what is next
        with m.If(self.good & possible):
            m.d.sync += self.base.eq(self.header.ack)
            m.d.sync += limit.eq(self.header.ack + self.header.credit)
            with m.If(progress):
                m.d.sync += timer.eq(0)
            with m.If((self.header.kind == Kind.NAK) | ahead[-1]):
                m.d.sync += self.next.eq(self.header.ack)

        with m.If(self.clear):
            for register in self.base, self.next, newest, probe, timer:
                m.d.sync += register.eq(0)
            m.d.sync += limit.eq(self.header.credit)
        return m
