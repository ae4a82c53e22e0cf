"""Wraps a payload in a frame."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import SYNC
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.link.frame import CRC_BYTES, HEADER, HEADER_BYTES, LENGTH_BITS

__all__ = ["Framer"]


class Framer(wiring.Component):
    """Sends one frame per header.

    One byte per cycle, but for four cycles per frame; all outputs are registered.

    Members
    -------
    header : :py:`In(stream.Signature(HEADER))`
        Taken at once when no frame is under way.
    payload : :py:`In(stream.Signature(8))`
        `length` bytes for each header.
    o : :py:`Out(stream.Signature(8))`
        Bytes to the PHY.
    """

    def __init__(self):
        super().__init__({
            "header": In(stream.Signature(HEADER)),
            "payload": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32(data_bits=8)

        space = Signal()
        shift = Signal(HEADER)               # the header, and later the CRC
        length = Signal(LENGTH_BITS)
        left = Signal(LENGTH_BITS)           # bytes of the present part still to go, less one
        m.d.comb += space.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        def send(byte):
            m.d.sync += [self.o.payload.eq(byte), self.o.valid.eq(1), left.eq(left - 1)]

        # The CRC is made from the output register, off the path from the memory, and so is known a
        # cycle after the last byte has gone.
        m.d.comb += crc.data.eq(self.o.payload)
        m.d.comb += crc.valid.eq(self.o.valid & self.o.ready)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.header.ready.eq(space)
                with m.If(self.header.valid & space):
                    send(SYNC)
                    m.d.sync += shift.eq(self.header.payload)
                    m.d.sync += length.eq(self.header.p.length)
                    m.d.sync += left.eq(HEADER_BYTES - 1)
                    m.next = "SYNC"
            with m.State("SYNC"):
                m.d.comb += crc.valid.eq(0)
                m.d.comb += crc.clear.eq(1)
                with m.If(space):
                    send(shift.as_value()[:8])
                    m.d.sync += shift.eq(shift.as_value()[8:])
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(space):
                    send(shift.as_value()[:8])
                    m.d.sync += shift.eq(shift.as_value()[8:])
                    with m.If(left == 0):
                        m.d.sync += left.eq(length - 1)
                        m.next = "SETTLE"
                        with m.If(length != 0):
                            m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.payload.ready.eq(space)
                with m.If(space & self.payload.valid):
                    send(self.payload.payload)
                    with m.If(left == 0):
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                with m.If(~self.o.valid):
                    m.d.sync += shift.eq(crc.value[0])
                    m.d.sync += left.eq(CRC_BYTES - 1)
                    m.next = "CRC"
            with m.State("CRC"):
                with m.If(space):
                    send(shift.as_value()[:8])
                    m.d.sync += shift.eq(shift.as_value()[8:])
                    with m.If(left == 0):
                        m.next = "IDLE"
        return m
