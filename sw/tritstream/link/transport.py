"""What carries bytes between host and device."""

import abc
import secrets
import time

from tritstream.link.activity import StageActivity

__all__ = ["Transport"]


class Transport(abc.ABC):
    """A stream of bytes in both directions, which may lose or damage some of them.

    Subclasses are a TCP connection, a serial port, and wrappers for tests. Every call is bounded in
    time. `DeviceError` is raised with one sentence when the other end is gone.
    """

    name: str
    """What the user called it, for messages: ``tcp:localhost:7000``."""

    retry_seconds: float = 1.0
    """How long an acknowledgement may take before frames are sent again."""

    rate: float | None = None
    """Bytes per second that it carries in each direction at best; None: unknown."""

    preloaded = None
    """What the device's memory has held from its first byte on since it was started, bytes-like;
    None: whatever it holds. It is asked for behind the device's first answer."""

    @abc.abstractmethod
    def read(self, timeout: float) -> bytes:
        """Return at least one byte as soon as there is one, or none after `timeout` seconds."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the port; further calls do nothing."""

    def now(self) -> float:
        """Return the time in seconds by which the link's timers go."""
        return time.monotonic()

    def clock(self) -> float | None:
        """Return the time in seconds of the world that the device is in; None: it is not known.

        By it the clock of a device can be measured. A socket may lead to a board, or to a
        simulation, whose only time is its cycles.
        """
        return None

    def activity(self) -> list[StageActivity] | None:
        """Return what the device's blocks did in its latest pass, by stage; None: nobody can see.

        It can be seen of a simulation that this transport has started.
        """
        return None

    def nonce(self) -> int:
        """Return a byte that tells this session from an earlier one; a replay returns the same."""
        return secrets.randbelow(256)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
