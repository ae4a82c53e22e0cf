"""Outgoing half of the link: from a stream of bytes to frames."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Kind
from tritstream_hw.link.frame import HEADER
from tritstream_hw.link.framer import Framer
from tritstream_hw.link.outbox import Outbox
from tritstream_hw.link.window import Window

__all__ = ["Transmitter"]


class Transmitter(wiring.Component):
    """Sends payloads until they are acknowledged, and whatever the receiving half asks for.

    A frame of full length takes 527 cycles for 512 bytes.

    Parameters
    ----------
    retry_cycles : int
        Timer, see `docs/link.md`.

    Members
    -------
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of messages; bytes to the PHY.
    header, good : :py:`In(HEADER)`, :py:`In(1)`
        A good frame has come from the other side.
    expected, credit : :py:`In(8)`
        What every frame tells about the other direction.
    ack, nak : :py:`In(1)`
        A frame of this kind is wanted.
    told, denied : :py:`Out(1)`
        Strobes: a frame starts, with `expected` and `credit`; it is a `NAK`.
    clear : :py:`In(1)`
        Forget the stream, and answer the `RESET` in `header`. A frame under way is finished.
    again : :py:`Out(1)`
        Strobe: a payload is sent once more.
    """

    def __init__(self, *, retry_cycles: int):
        self._retry_cycles = retry_cycles
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "header": In(HEADER),
            "good": In(1),
            "expected": In(8),
            "credit": In(8),
            "ack": In(1),
            "nak": In(1),
            "told": Out(1),
            "denied": Out(1),
            "clear": In(1),
            "again": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.outbox = outbox = Outbox()
        m.submodules.window = window = Window(retry_cycles=self._retry_cycles)
        m.submodules.framer = framer = Framer()
        wiring.connect(m, wiring.flipped(self.i), outbox.i)
        wiring.connect(m, outbox.payload, framer.payload)
        wiring.connect(m, framer.o, wiring.flipped(self.o))

        answer, nonce = Signal(), Signal(8)
        with m.If(self.clear):
            m.d.sync += [answer.eq(1), nonce.eq(self.header.seq)]

        header, offer, starts = framer.header.p, Signal(), Signal()
        m.d.comb += [
            header.ack.eq(self.expected),
            header.credit.eq(self.credit),
            framer.header.valid.eq(offer & ~self.clear),
            starts.eq(framer.header.valid & framer.header.ready),
            self.told.eq(starts),
        ]
        with m.If(answer):
            m.d.comb += [offer.eq(1), header.kind.eq(Kind.RESET_ACK), header.seq.eq(nonce)]
            with m.If(starts):
                m.d.sync += answer.eq(0)
        with m.Elif(self.nak):
            m.d.comb += [offer.eq(1), header.kind.eq(Kind.NAK), self.denied.eq(starts)]
        with m.Elif(window.due):
            m.d.comb += [
                offer.eq(1),
                header.kind.eq(Kind.DATA),
                header.seq.eq(window.next),
                header.length.eq(outbox.length),
                window.sent.eq(starts),
                self.again.eq(starts & window.again),
            ]
        with m.Elif(self.ack):
            m.d.comb += [offer.eq(1), header.kind.eq(Kind.ACK)]

        sending = Signal()                   # the latest frame carries a payload, and is under way
        with m.If(starts):
            m.d.sync += sending.eq(window.sent)
        with m.Elif(framer.header.ready):
            m.d.sync += sending.eq(0)

        m.d.comb += [
            window.header.eq(self.header),
            window.good.eq(self.good),
            window.fill.eq(outbox.fill),
            window.sending.eq(sending),
            window.clear.eq(self.clear),
            outbox.base.eq(window.base),
            outbox.seq.eq(window.next),
            outbox.play.eq(window.sent),
            outbox.clear.eq(self.clear),
        ]
        m.d.sync += outbox.quiet.eq(framer.header.ready & ~framer.header.valid)
        return m
