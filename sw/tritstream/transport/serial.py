"""Bytes over a serial port."""

import contextlib
import errno
import time

from tritstream.errors import BadInput, DeviceError, MissingTool
from tritstream.link.protocol import DEVICE_ROOM, MAX_PAYLOAD
from tritstream.link.transport import Transport
from tritstream.support.tools import install_command
from tritstream.transport.address import Address

__all__ = ["BITS_PER_BYTE", "SerialTransport"]

DEFAULT_BAUD = 3_000_000
BAUDS = 300, 100_000_000
BITS_PER_BYTE = 10
"""On a serial line: a start bit, eight bits, a stop bit."""

WRITE_SECONDS = 10.0
SLICE_SECONDS = 0.005       # pyserial's own timeout, set once: changing it reconfigures the port
LATENCY_SECONDS = 0.1       # of USB adapters and of the operating system
CANNOT = (AttributeError, RuntimeError, ValueError)     # pyserial: on this system, with this port
FAILURES = (OSError, TypeError)     # pyserial: a port that is gone, and one closed meanwhile

ABSENT = "there is none: plug the board in, and correct the name; `tritstream doctor` lists them"
FORBIDDEN = ("this user may not: run `sudo usermod -a -G dialout $USER`, then log out and in "
             "again")
BUSY = "another program uses it: end that one"
REFUSALS = {
    errno.ENOENT: ABSENT, errno.ENXIO: ABSENT, errno.ENODEV: ABSENT, errno.ENOTDIR: ABSENT,
    errno.EACCES: FORBIDDEN, errno.EPERM: FORBIDDEN,
    errno.EBUSY: BUSY, errno.EAGAIN: BUSY,
}
"""Why a port cannot be opened, and what to do."""


class SerialTransport(Transport):
    """A serial port: eight bits, no parity, one stop bit, no flow control.

    Parameters
    ----------
    port : str
        Name of the port, as in ``/dev/ttyUSB0`` or ``COM3``.
    baud : int
        Bits per second.
    name : str or None
        Name for messages; None: that of the port.
    """

    def __init__(self, port: str, *, baud: int = DEFAULT_BAUD, name: str | None = None):
        try:
            import serial
        except ImportError as error:
            raise MissingTool("A serial port needs pyserial, which is not installed: run "
                              f"`{install_command('pyserial')}`.") from error
        self.name = f"serial:{port}" if name is None else name
        self.rate = baud / BITS_PER_BYTE
        window_seconds = DEVICE_ROOM * MAX_PAYLOAD / self.rate
        self.retry_seconds = LATENCY_SECONDS + 2 * window_seconds
        try:
            self._port = serial.Serial(port, baud, timeout=SLICE_SECONDS, exclusive=True,
                                       write_timeout=WRITE_SECONDS + 2 * window_seconds)
        except (OSError, ValueError) as error:       # SerialException is an OSError
            why = REFUSALS.get(getattr(error, "errno", None),
                               f"{error}: check that it is a serial port, and its baud rate")
            raise DeviceError(f"The serial port {port} cannot be opened at {baud} baud; {why}."
                              ) from error
        # USB adapters hold back short answers for 16 ms unless told not to, where that can be told.
        with contextlib.suppress(*CANNOT):
            self._port.set_low_latency_mode(True)

    @classmethod
    def open(cls, address: Address, image=None) -> "SerialTransport":
        """Open ``serial:PORT[?baud=N]``."""
        address.check_options("baud")
        baud = address.number("baud", DEFAULT_BAUD, *BAUDS)
        if not address.rest:
            raise BadInput(f"{address.text!r} is not a device: write serial:PORT, as in "
                           "serial:/dev/ttyUSB0.")
        return cls(address.rest, baud=baud, name=address.text)

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

    def clock(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._port.close()

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(f"The device at {self.name} went away ({error}): plug it in again and "
                           "repeat the command.")
