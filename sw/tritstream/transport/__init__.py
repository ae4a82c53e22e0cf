"""Ways in which bytes reach a device, and the addresses by which a user calls them."""

from tritstream.link.transport import Transport
from tritstream.transport.address import Address
from tritstream.transport.faulty import Faults, FaultyTransport
from tritstream.transport.registry import open_transport
from tritstream.transport.replay import RecordingTransport, ReplayTransport
from tritstream.transport.serial import SerialTransport
from tritstream.transport.tcp import TcpTransport

__all__ = [
    "Address",
    "FaultyTransport",
    "Faults",
    "RecordingTransport",
    "ReplayTransport",
    "SerialTransport",
    "TcpTransport",
    "Transport",
    "open_transport",
]
