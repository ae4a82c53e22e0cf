"""Bytes over a serial port."""

import contextlib
import time
import urllib.parse

from tritstream.errors import BadInput, DeviceError, MissingTool
from tritstream.link.protocol import DEVICE_ROOM, MAX_PAYLOAD
from tritstream.support.manifest import read_build_id
from tritstream.support.tools import install_command
from tritstream.transport.base import Transport

__all__ = ["SerialTransport"]

DEFAULT_BAUD = 3_000_000
BITS_PER_BYTE = 10          # start bit, eight bits, stop bit
WRITE_SECONDS = 10.0
SLICE_SECONDS = 0.005       # pyserial's own timeout, set once: changing it reconfigures the port
LATENCY_SECONDS = 0.1       # of USB adapters and of the operating system
CANNOT = (AttributeError, RuntimeError, ValueError)     # pyserial: on this system, with this port
FAILURES = (OSError, TypeError)     # pyserial: a port that is gone, and one closed meanwhile


class SerialTransport(Transport):
    """A serial port: eight bits, no parity, one stop bit, no flow control.

    Parameters
    ----------
    address : str
        Port and options as in ``/dev/ttyUSB0?baud=3000000&build=build/ulx3s_85f``. Only a device
        that holds the bitstream in the directory `build` is accepted; without it, any.
    """

    def __init__(self, address: str):
        port, baud, self.build = _split_address(address)
        try:
            import serial
        except ImportError as error:
            raise MissingTool("A serial port needs pyserial, which is not installed: run "
                              f"`{install_command('pyserial')}`.") from error
        self.name = f"serial:{address}"
        window_seconds = DEVICE_ROOM * MAX_PAYLOAD * BITS_PER_BYTE / baud
        self.retry_seconds = LATENCY_SECONDS + 2 * window_seconds
        try:
            self._port = serial.Serial(port, baud, timeout=SLICE_SECONDS, exclusive=True,
                                       write_timeout=WRITE_SECONDS + 2 * window_seconds)
        except (OSError, ValueError) as error:       # SerialException is an OSError
            raise DeviceError(f"The serial port {port} cannot be opened at {baud} baud ({error}): "
                              "plug the board in, check the port's name, and that you may use it."
                              ) from error
        # USB adapters hold back short answers for 16 ms unless told not to, where that can be told.
        with contextlib.suppress(*CANNOT):
            self._port.set_low_latency_mode(True)

    def read(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        try:
            while True:
                waiting = self._port.in_waiting
                if waiting:
                    return self._port.read(waiting)
                if time.monotonic() >= end:
                    return b""
                first = self._port.read(1)
                if first:
                    return first + self._port.read(self._port.in_waiting)
        except FAILURES as error:
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except FAILURES as error:
            raise self._gone(error) from error

    def close(self) -> None:
        self._port.close()

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(f"The device at {self.name} went away ({error}): plug it in again and "
                           "repeat the command.")


def _split_address(address: str) -> tuple[str, int, bytes | None]:
    port, _, query = address.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    baud = options.pop("baud", str(DEFAULT_BAUD))
    build = options.pop("build", None)
    if options:
        raise BadInput(f"serial:{address} has the unknown option {next(iter(options))!r}: "
                       "there are baud and build.")
    if not port:
        raise BadInput("serial: needs a port: write serial:PORT, as in serial:/dev/ttyUSB0.")
    if not (baud.isascii() and baud.isdigit()) or int(baud) == 0:
        raise BadInput(f"serial:{address} has the baud rate {baud!r}: it must be a whole number of "
                       "at least 1.")
    return port, int(baud), None if build is None else read_build_id(build)
