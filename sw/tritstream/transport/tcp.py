"""Bytes over a TCP connection: the simulated board, or a bridge to a real one."""

import contextlib
import ipaddress
import socket

from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.link.transport import Transport
from tritstream.transport.address import Address, whole_number

__all__ = ["TcpTransport"]

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 10.0
CHUNK = 1 << 16


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
        self._has_answered = False
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def open(cls, address: Address, image=None) -> "TcpTransport":
        """Connect to ``tcp:HOST:PORT`` or ``tcp:[IPV6]:PORT``."""
        address.check_options()
        host, port = _host_and_port(address)
        try:
            connection = socket.create_connection((host, port), CONNECT_SECONDS)
        except socket.gaierror as error:
            raise DeviceError(f"No device answers at {address.text}: there is no host {host!r} "
                              f"({error.strerror}); correct its name.") from error
        except OSError as error:
            raise DeviceError(f"No device answers at {address.text} ({error.strerror or error}): "
                              "start the board or its bridge, or correct host and port.") from error
        return cls(connection, address.text)

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
        self._has_answered = True
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
        if not self._has_answered and self._socket.fileno() >= 0:
            return DeviceBusy(f"The device at {self.name} is busy with another host, or did not "
                              f"start ({why} without a byte): end the other program, or wait.")
        return DeviceError(f"The device at {self.name} went away ({why}): start it again and "
                           "repeat the command.")


def _host_and_port(address: Address) -> tuple[str, int]:
    host, _, port = (address.rest or "").rpartition(":")
    number = whole_number(port, 1, 65_535)
    if number is None or not _is_host(host):
        raise BadInput(f"{address.text[:200]!r} is not a device: write tcp:HOST:PORT with a port "
                       "of 1 to 65535.")
    return host.removeprefix("[").removesuffix("]"), number


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        with contextlib.suppress(ValueError):
            return bool(ipaddress.IPv6Address(host[1:-1]))
        return False
    try:
        return host.isprintable() and not set(host) & set(":[]/@") and bool(host.encode("idna"))
    except UnicodeError:                    # an empty part, or one that is too long
        return False
