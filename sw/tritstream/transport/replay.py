"""A session with a device, written to a file, and played again without the device.

The file is text: a first line with name and version, then one event a line: ``n NUMBER`` a nonce,
``w HEX`` bytes from the host, ``r HEX`` bytes from the device.
"""

import pathlib

from tritstream.errors import BadInput, DeviceError
from tritstream.link.transport import Transport
from tritstream.support.inputs import read_input
from tritstream.transport.address import Address

__all__ = ["RecordingTransport", "ReplayTransport"]

HEADER = "tritstream-session 1"

MOST_BYTES = 1 << 30
"""Of a session that is played again."""

RESOLUTION = 1e-6
"""Seconds that the shortest wait takes, so that rounding cannot keep a timer from its end."""


class RecordingTransport(Transport):
    """Another transport whose traffic is written to a file.

    Parameters
    ----------
    inner : Transport
        What really carries the bytes.
    path : path-like
        File to write; an existing one is replaced.
    """

    def __init__(self, inner: Transport, path):
        self.name = inner.name
        self.retry_seconds = inner.retry_seconds
        self.rate = inner.rate
        self._inner = inner
        self._path = path
        try:
            self._file = pathlib.Path(path).open("w", encoding="ascii")
        except OSError as error:
            inner.close()
            raise self._unwritable(error) from error
        self._log(HEADER)

    def read(self, timeout: float) -> bytes:
        data = self._inner.read(timeout)
        if data:
            self._log(f"r {data.hex()}")
        return data

    def write(self, data: bytes) -> None:
        self._inner.write(data)
        self._log(f"w {bytes(data).hex()}")

    def now(self) -> float:
        return self._inner.now()

    def clock(self) -> float | None:
        return self._inner.clock()

    def activity(self):
        return self._inner.activity()

    def nonce(self) -> int:
        number = self._inner.nonce()
        self._log(f"n {number}")
        return number

    def close(self) -> None:
        self._inner.close()
        try:
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _log(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BadInput:
        return BadInput(f"The session cannot be recorded in {self._path} ({error.strerror}): give "
                        "a file that can be written, on a disk with room.")


class ReplayTransport(Transport):
    """The device's part of a recorded session.

    The host must write the bytes that it wrote then; `DeviceError` names the first that differs.
    Time stands still but while the host waits for what comes only after it has written: so its
    timers fire where they fired then, however fast or slow this computer is.

    Parameters
    ----------
    path : path-like
        File written by `RecordingTransport`.
    """

    def __init__(self, path):
        self.name = f"replay:{path}"
        self._events = _load(path)
        self._next = 0              # index of the event under way
        self._matched = 0           # its bytes that the host has written so far
        self._written = 0
        self._now = 0.0

    @classmethod
    def open(cls, address: Address, image=None) -> "ReplayTransport":
        """Open ``replay:FILE``."""
        address.check_options()
        if not address.rest:
            raise BadInput(f"{address.text!r} is not a device: write replay:FILE.")
        return cls(address.rest)

    @property
    def finished(self) -> bool:
        """Whether everything recorded has happened again."""
        return self._next == len(self._events)

    def read(self, timeout: float) -> bytes:
        kind, value = self._event()
        if kind != "r":
            self._now += timeout + RESOLUTION
            return b""
        self._next += 1
        return value

    def write(self, data: bytes) -> None:
        data = memoryview(data)
        while len(data):
            kind, value = self._event()
            expected = value[self._matched:] if kind == "w" else b""
            count = min(len(expected), len(data))
            if count == 0 or data[:count] != expected[:count]:
                raise DeviceError(f"The session {self.name} does not repeat: what the host wrote "
                                  f"differs behind byte {self._written}; record it again if that "
                                  "is meant to be so.")
            data = data[count:]
            self._written += count
            self._matched += count
            if self._matched == len(value):
                self._next += 1
                self._matched = 0

    def now(self) -> float:
        return self._now

    def nonce(self) -> int:
        kind, value = self._event()
        if kind != "n":
            raise DeviceError(f"The session {self.name} does not repeat: the host starts anew "
                              f"behind byte {self._written}; record it again if that is "
                              "meant to be so.")
        self._next += 1
        return value

    def close(self) -> None:
        pass

    def _event(self):
        return (None, b"") if self.finished else self._events[self._next]


def _load(path) -> list:
    try:
        lines = read_input(path, most=MOST_BYTES).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The session {path} cannot be read ({error}).") from error
    if not lines or lines[0] != HEADER:
        raise BadInput(f"{path} is not a recorded session: its first line is not {HEADER!r}.")
    return [_event_of(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _event_of(path, number: int, line: str):
    kind, _, text = line.partition(" ")
    try:
        if kind in ("r", "w"):
            return kind, bytes.fromhex(text)
        if kind == "n" and 0 <= int(text) < 256:
            return kind, int(text)
    except ValueError:
        pass
    raise BadInput(f"The session {path} is damaged in line {number}: record it again.")
