"""Finds frames in a stream of bytes, and checks them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import MAX_PAYLOAD, SYNC, Kind
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.link.frame import CRC_BYTES, HEADER, HEADER_BYTES, LENGTH_BITS, RESIDUE

__all__ = ["Deframer"]


class Deframer(wiring.Component):
    """Splits bytes into frames.

    Throughput is one byte per cycle, but for two cycles per frame in which none is taken: one to
    judge the header, one to judge the CRC. It never waits for anybody else.

    Parameters
    ----------
    gap_cycles : int
        A frame in which no byte has come for so long is given up.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes from the PHY.
    header : :py:`Out(HEADER)`
        Header of the present frame, stable from `begin` to `good` or `bad`.
    begin, good, bad : :py:`Out(1)`
        Strobes: the header is complete and plausible; the frame ended with the right CRC; the frame
        is dropped, with or without `begin` before.
    payload, payload_valid : :py:`Out(8)`, :py:`Out(1)`
        Bytes between `begin` and `good` or `bad`, not yet known to be right.
    """

    def __init__(self, *, gap_cycles: int):
        self._gap_cycles = gap_cycles
        super().__init__({
            "i": In(stream.Signature(8)),
            "header": Out(HEADER),
            "begin": Out(1),
            "good": Out(1),
            "bad": Out(1),
            "payload": Out(8),
            "payload_valid": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32(data_bits=8)

        taken, whole = Signal(), Signal()
        inside = Signal()                    # of a frame: more bytes have to come
        left = Signal(LENGTH_BITS)           # bytes of the present part still to come, less one
        gap = Signal(range(self._gap_cycles + 1))
        given_up = Signal()
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            self.payload.eq(self.i.payload),
            crc.data.eq(self.i.payload),
            whole.eq(crc.value[0] == RESIDUE),
            given_up.eq(gap == self._gap_cycles),
        ]
        with m.If(taken):
            m.d.sync += left.eq(left - 1)

        with m.If(taken | ~inside):
            m.d.sync += gap.eq(0)
        with m.Else():
            m.d.sync += gap.eq(gap + 1)

        is_data = self.header.kind == Kind.DATA
        plausible = Mux(is_data,
                        (self.header.length != 0) & (self.header.length <= MAX_PAYLOAD),
                        (self.header.kind <= max(Kind)) & (self.header.length == 0))

        # What follows from a frame is not in the way of its CRC: the next header is not there yet.
        m.d.sync += [self.good.eq(0), self.bad.eq(0)]
        with m.FSM():
            with m.State("HUNT"):
                m.d.comb += self.i.ready.eq(1)
                m.d.comb += crc.clear.eq(1)
                with m.If(taken & (self.i.payload == SYNC)):
                    m.d.sync += left.eq(HEADER_BYTES - 1)
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.i.ready.eq(1)
                m.d.comb += inside.eq(1)
                m.d.comb += crc.valid.eq(taken)
                with m.If(taken):
                    m.d.sync += self.header.eq(Cat(self.header.as_value()[8:], self.i.payload))
                    with m.If(left == 0):
                        m.next = "JUDGE"
                with m.Elif(given_up):
                    m.next = "DROP"
            with m.State("JUDGE"):
                m.d.comb += self.begin.eq(plausible)
                m.d.sync += self.bad.eq(~plausible)
                with m.If(~plausible):
                    m.next = "HUNT"
                with m.Elif(is_data):
                    m.d.sync += left.eq(self.header.length - 1)
                    m.next = "PAYLOAD"
                with m.Else():
                    m.d.sync += left.eq(CRC_BYTES - 1)
                    m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += self.i.ready.eq(1)
                m.d.comb += inside.eq(1)
                m.d.comb += crc.valid.eq(taken)
                m.d.comb += self.payload_valid.eq(taken)
                with m.If(taken & (left == 0)):
                    m.d.sync += left.eq(CRC_BYTES - 1)
                    m.next = "CRC"
                with m.Elif(given_up):
                    m.next = "DROP"
            with m.State("CRC"):
                m.d.comb += self.i.ready.eq(1)
                m.d.comb += inside.eq(1)
                m.d.comb += crc.valid.eq(taken)
                with m.If(taken & (left == 0)):
                    m.next = "CHECK"
                with m.Elif(given_up):
                    m.next = "DROP"
            with m.State("CHECK"):
                m.d.sync += [self.good.eq(whole), self.bad.eq(~whole)]
                m.next = "HUNT"
            with m.State("DROP"):
                m.d.sync += self.bad.eq(1)
                m.next = "HUNT"
        return m
