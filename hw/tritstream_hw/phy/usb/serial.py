"""A serial port that is a USB device."""

import importlib.metadata

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.errors import MissingTool
from tritstream.support.tools import install_command
from tritstream_hw.phy.usb.packets import PacketEnds
from tritstream_hw.stream.crossing_queue import CrossingQueue

__all__ = ["FULL_SPEED_PACKET", "HIGH_SPEED_PACKET", "UsbSerial"]

FULL_SPEED_PACKET, HIGH_SPEED_PACKET = 64, 512
"""Most bytes of a packet of a bulk endpoint, by the speed of the bus."""

# Set aside by pid.codes for tests of devices that nobody is handed: whoever sells or gives away
# boards with this gateware needs a number of their own.
VENDOR, PRODUCT = 0x1209, 0x0001
MANUFACTURER = "tritstream"

DEPTH = 32              # of each queue: more than pass until its source sees that one is gone
LATE = 2                # what its level does not count yet


class UsbSerial(wiring.Component):
    """LUNA's USB serial device (CDC-ACM) in the domain ``usb``, and the way from and to ``sync``.

    The host sees a modem without a line: any baud rate will do. The bus has its own CRC, repeats
    what is damaged, and makes the sender wait where a UART would lose bytes. What is on its way
    when the host resets the bus, or the cable is pulled, is lost.

    A packet to the host ends 16 cycles behind the last byte that has come.

    Parameters
    ----------
    bus
        Pins of the port, or of a ULPI PHY, as LUNA takes them: objects with the attributes ``i``,
        ``o`` and ``oe``.
    product : str
        What the host tells its user that it is.
    packet_bytes : int
        `FULL_SPEED_PACKET` or `HIGH_SPEED_PACKET`.

    Members
    -------
    o, i : :py:`Out(stream.Signature(8))`, :py:`In(stream.Signature(8))`
        Bytes from and to the host, in ``sync``.

    Raises
    ------
    MissingTool
        When it is elaborated: LUNA is not installed.
    """

    def __init__(self, bus, *, product: str, packet_bytes: int):
        self._bus = bus
        self._product = product
        self._packet_bytes = packet_bytes
        super().__init__({"o": Out(stream.Signature(8)), "i": In(stream.Signature(8))})

    def elaborate(self, platform):
        acm_device, m = _acm_device(), Module()
        m.submodules.device = device = acm_device(
            bus=self._bus, idVendor=VENDOR, idProduct=PRODUCT, manufacturer_string=MANUFACTURER,
            product_string=self._product, max_packet_size=self._packet_bytes)
        m.d.comb += device.connect.eq(1)

        m.submodules.there = there = CrossingQueue(8, depth=DEPTH, i_domain="usb", o_domain="sync")
        wiring.connect(m, there.o, wiring.flipped(self.o))
        self._fill(m, "usb", there, device.rx)

        m.submodules.back = back = CrossingQueue(8, depth=DEPTH, i_domain="sync", o_domain="usb")
        self._fill(m, "sync", back, self.i)
        ends = PacketEnds()
        m.submodules.ends = DomainRenamer("usb")(ends)
        wiring.connect(m, back.o, ends.i)
        m.d.comb += [
            device.tx.valid.eq(ends.o.valid), ends.o.ready.eq(device.tx.ready),
            device.tx.payload.eq(ends.o.p.byte), device.tx.last.eq(ends.o.p.last),
        ]
        return m

    def _fill(self, m, domain: str, queue, source):
        """Offer a queue what comes, in the domain of both, while there is room for it."""
        room = Signal(name=f"room_{domain}")
        m.d[domain] += room.eq(queue.level < DEPTH - LATE)
        m.d.comb += [queue.i.valid.eq(source.valid & room), source.ready.eq(room),
                     queue.i.payload.eq(source.payload)]


def _acm_device():
    """Return the class of LUNA's device."""
    try:
        importlib.metadata.version("luna-usb")
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool("LUNA, of which the USB port of a board is made, is not installed; run "
                          f"`{install_command('luna-usb')}`.") from None
    from tritstream_hw.phy.usb.acm import AcmDevice
    return AcmDevice
