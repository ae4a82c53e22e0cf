"""A USB serial device (CDC-ACM) of LUNA's parts: alone of all, this imports them.

It is `luna.gateware.usb.devices.acm.USBSerialDevice` but for one thing. Its endpoints keep the data
toggle of the packets that they have seen over a reset of the bus, behind which the host begins with
DATA0 again: a host that resets a device whose toggles are odd would lose the first packet of each
direction.
"""

from amaranth import *
from luna.gateware.usb.devices.acm import ACMRequestHandlers, USBSerialDevice
from luna.gateware.usb.usb2.device import USBDevice
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
from luna.gateware.usb.usb2.request import StallOnlyRequestHandler
from usb_protocol.types import USBRequestType

__all__ = ["AcmDevice"]

REFUSED = USBRequestType.VENDOR, USBRequestType.RESERVED


class Beginning(Elaboratable):
    """An endpoint of LUNA's that is reset while the device is not configured."""

    def __init__(self, endpoint):
        self._endpoint = endpoint
        self.interface = endpoint.interface

    def elaborate(self, platform):
        unconfigured = self.interface.active_config == 0
        return ResetInserter({"usb": unconfigured})(self._endpoint)


class AcmDevice(USBSerialDevice):
    """LUNA's serial device, whose endpoints begin anew whenever the host configures it.

    Until then they hold nothing, and what is to be sent is dropped.

    Parameters
    ----------
    bus
        Pins of the port, or of a ULPI PHY, as LUNA takes them; clocks are the user's.
    names
        Of `USBSerialDevice`: its numbers, names, and `max_packet_size`.

    Attributes
    ----------
    connect, rx, tx
        Of `USBSerialDevice`.
    """

    def elaborate(self, platform):
        m = Module()
        m.submodules.usb = usb = USBDevice(bus=self._bus, handle_clocking=False)
        control = usb.add_standard_control_endpoint(self.create_descriptors())
        control.add_request_handler(ACMRequestHandlers())
        control.add_request_handler(StallOnlyRequestHandler(
            lambda setup: Cat(setup.type == kind for kind in REFUSED).any()))

        packet = self._max_packet_size
        status = USBStreamInEndpoint(endpoint_number=self._STATUS_ENDPOINT_NUMBER,
                                     max_packet_size=packet)        # never has anything to say
        rx = USBStreamOutEndpoint(endpoint_number=self._DATA_ENDPOINT_NUMBER,
                                  max_packet_size=packet)
        tx = USBStreamInEndpoint(endpoint_number=self._DATA_ENDPOINT_NUMBER,
                                 max_packet_size=packet)
        # Where two endpoints are of one class, LUNA names one of them by where it is in memory: the
        # design would be another one in each process.
        for name, endpoint in {"Status": status, "Receiver": rx, "Sender": tx}.items():
            usb.add_endpoint(type(name, (Beginning,), {})(endpoint))
        m.d.comb += [tx.stream.stream_eq(self.tx), self.rx.stream_eq(rx.stream),
                     usb.connect.eq(self.connect)]
        return m
