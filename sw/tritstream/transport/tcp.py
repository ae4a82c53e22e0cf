"""Bytes over a TCP connection: the simulated board, or a bridge to a real one."""

import socket

from tritstream.errors import BadInput, DeviceError
from tritstream.transport.base import Transport

__all__ = ["TcpTransport", "split_address"]

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 10.0
CHUNK = 1 << 16


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; raise `BadInput` otherwise."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise BadInput(f"tcp:{address} is not a device: write tcp:HOST:PORT with a port of 1 to "
                       "65535.")
    return host, int(port)


class TcpTransport(Transport):
    """A connected socket.

    Parameters
    ----------
    connection : socket.socket
        Any connected stream socket; it is closed with the transport.
    name : str
        Name for messages.
    """

    def __init__(self, connection: socket.socket, name: str):
        self.name = name
        self._socket = connection
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, address: str) -> "TcpTransport":
        """Connect to ``HOST:PORT``."""
        host, port = split_address(address)
        try:
            connection = socket.create_connection((host, port), CONNECT_SECONDS)
        except OSError as error:
            raise DeviceError(f"No device answers at tcp:{address} ({error.strerror or error}): "
                              "start the board or its bridge, or correct host and port.") from error
        return cls(connection, f"tcp:{address}")

    def read(self, timeout: float) -> bytes:
        try:
            self._socket.settimeout(max(0.0, timeout))
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, TimeoutError):
            return b""
        except OSError as error:
            raise self._gone(error.strerror or "the port is closed") from error
        if not data:
            raise self._gone("it closed the connection")
        return data

    def write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(WRITE_SECONDS)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise self._gone(f"it took no bytes for {WRITE_SECONDS:.0f} s") from error
        except OSError as error:
            raise self._gone(error.strerror or "the port is closed") from error

    def close(self) -> None:
        self._socket.close()

    def _gone(self, why: str) -> DeviceError:
        return DeviceError(f"The device at {self.name} went away ({why}): start it again and "
                           "repeat the command.")
