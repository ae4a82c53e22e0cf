"""Both halves of the link."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Kind
from tritstream_hw.link.acknowledger import Acknowledger
from tritstream_hw.link.deframer import Deframer
from tritstream_hw.link.receiver import Receiver
from tritstream_hw.link.transmitter import Transmitter

__all__ = ["COUNTERS", "Link"]

COUNTERS = data.StructLayout({"good": 32, "bad": 32, "out_of_order": 32, "sent_again": 32})
"""Frames since power-up, in the order in which READ returns them."""


class Link(wiring.Component):
    """Reliable, ordered byte stream in each direction over a PHY that may lose, flip or add bytes.

    `docs/link.md` describes the frames. One byte per cycle in each direction, less 2 % for framing;
    a payload comes out of `o` two cycles after its CRC.

    Parameters
    ----------
    ack_cycles, retry_cycles : int
        Timers, see `docs/link.md`.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes from and to the PHY. `rx` never waits for long: a PHY needs no buffer.
    o, i : :py:`Out(stream.Signature(8))`, :py:`In(stream.Signature(8))`
        Bytes of messages, received and to be sent.
    reset : :py:`Out(1)`
        Strobe: the host has sent `RESET`; both streams begin anew.
    counters : :py:`Out(COUNTERS)`
        Frames counted since power-up.
    """

    def __init__(self, *, ack_cycles: int, retry_cycles: int):
        self._ack_cycles, self._retry_cycles = ack_cycles, retry_cycles
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "i": In(stream.Signature(8)),
            "reset": Out(1),
            "counters": Out(COUNTERS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.deframer = deframer = Deframer(gap_cycles=self._retry_cycles)
        m.submodules.receiver = receiver = Receiver()
        m.submodules.acknowledger = acknowledger = Acknowledger(
            ack_cycles=self._ack_cycles, retry_cycles=self._retry_cycles)
        m.submodules.transmitter = transmitter = Transmitter(
            retry_cycles=self._retry_cycles)
        wiring.connect(m, wiring.flipped(self.rx), deframer.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, transmitter.o, wiring.flipped(self.tx))

        # The strobe is registered, and all parts see it in the same cycle.
        m.d.sync += self.reset.eq(deframer.good & (deframer.header.kind == Kind.RESET))
        # A cycle late: a CRC and a comparison of numbers come before it.
        m.d.sync += acknowledger.missed.eq(receiver.gap | deframer.bad)
        m.d.comb += [
            receiver.header.eq(deframer.header),
            receiver.begin.eq(deframer.begin),
            receiver.good.eq(deframer.good),
            receiver.payload.eq(deframer.payload),
            receiver.payload_valid.eq(deframer.payload_valid),
            receiver.clear.eq(self.reset),
            acknowledger.expected.eq(receiver.expected),
            acknowledger.credit.eq(receiver.credit),
            acknowledger.accepted.eq(receiver.accepted),
            acknowledger.repeated.eq(receiver.repeated),
            acknowledger.told.eq(transmitter.told),
            acknowledger.denied.eq(transmitter.denied),
            acknowledger.clear.eq(self.reset),
            transmitter.header.eq(deframer.header),
            transmitter.good.eq(deframer.good),
            transmitter.expected.eq(receiver.expected),
            transmitter.credit.eq(receiver.credit),
            transmitter.ack.eq(acknowledger.ack),
            transmitter.nak.eq(acknowledger.nak),
            transmitter.clear.eq(self.reset),
        ]
        for counter, event in (
            (self.counters.good, deframer.good),
            (self.counters.bad, deframer.bad),
            (self.counters.out_of_order, receiver.gap | receiver.repeated),
            (self.counters.sent_again, transmitter.again),
        ):
            with m.If(event):
                m.d.sync += counter.eq(counter + 1)
        return m
