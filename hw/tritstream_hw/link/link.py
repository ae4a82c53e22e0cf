"""Both halves of the link."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Kind
from tritstream_hw.link.acknowledger import Acknowledger
from tritstream_hw.link.deframer import Deframer
from tritstream_hw.link.receiver import Receiver
from tritstream_hw.link.tally import Tally, tally_port
from tritstream_hw.link.transmitter import Transmitter

__all__ = ["COUNTERS", "Link"]

COUNTERS = tally_port(4)
"""Counters of frames since power-up: good, bad, out of order, and sent again."""


class Link(wiring.Component):
    """Reliable, ordered byte stream in each direction over a PHY that may lose, flip or add bytes.

    `docs/link.md` describes the frames. One byte per cycle in each direction, less 2 % for framing;
    a payload comes out of `o` three cycles after its CRC.

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
        Frames counted.
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
        # A frame has seven bytes, so that there is time to count what is said of each.
        m.submodules.tally = tally = Tally(kinds=4)
        wiring.connect(m, tally.read, wiring.flipped(self.counters))
        m.d.comb += tally.events.eq(Cat(deframer.good, deframer.bad,
                                        receiver.gap | receiver.repeated, transmitter.again))
        return m
