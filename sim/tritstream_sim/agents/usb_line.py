"""The line between a USB host and a device in Verilator."""

import enum
import pathlib
import struct
import subprocess

from tritstream.support.tools import end_process

__all__ = ["Line", "State"]

NONE = 0xFFFF_FFFF


class State(enum.IntEnum):
    """Of the line, by the names of USB at full speed."""

    SE0 = 0
    J = 1
    K = 2


class Line:
    """The line to one of the ports, and the device's own side of that; time passes in requests.

    Parameters
    ----------
    executable : path
        From `tritstream_sim.verilate.usb.build_usb`.
    speed : str
        ``full`` or ``high``.
    seed : int
        Of pauses, jitter, and when the PHY waits.
    linked : bool
        Behind the device is a link that sends back what it hears; else it is here, as `feed` and
        `drain`.
    """

    def __init__(self, executable: pathlib.Path, speed: str, seed: int, *, linked: bool = False):
        arguments = speed, str(seed), "link" if linked else "streams"
        self._process = subprocess.Popen([executable, *arguments], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)

    def packet(self, data: bytes, patience: int) -> tuple[int | None, bytes]:
        """Send a packet; return the bits until its answer, and that; no bits if none has come."""
        bits, answer = self._ask(0, patience, data)
        return (None if bits == NONE else bits), answer

    def hold(self, state: State, bits: int) -> State:
        """Hold the line for so many bits; return how the device leaves it."""
        return State(self._ask(1, bits, bytes([state]))[0])

    def feed(self, data: bytes) -> None:
        """Give the device bytes to send."""
        self._ask(2, 0, data)

    def drain(self) -> bytes:
        """Return what has come out of the device since."""
        return self._ask(3)[1]

    def stall(self, percent: int) -> None:
        """Let the streams of the device pause in so many of 100 cycles."""
        self._ask(4, percent)

    @property
    def bits(self) -> int:
        """How many have passed; at high speed, eights of them."""
        return self._ask(5)[0]

    def close(self) -> None:
        """End the simulation."""
        end_process(self._process)

    def _ask(self, what: int, number: int = 0, data: bytes = b"") -> tuple[int, bytes]:
        self._process.stdin.write(struct.pack("<III", what, number, len(data)) + data)
        self._process.stdin.flush()
        answer = self._process.stdout.read(8)
        if not answer:
            raise EOFError("the simulation has ended early: its message is above")
        number, size = struct.unpack("<II", answer)
        return number, self._process.stdout.read(size)
