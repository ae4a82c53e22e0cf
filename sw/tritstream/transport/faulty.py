"""A transport that damages what it carries, for tests of the link."""

import dataclasses
import random

from tritstream.errors import DeviceError
from tritstream.link.transport import Transport

__all__ = ["FaultyChannel", "FaultyTransport", "Faults"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """How often bytes suffer, each as a probability per byte.

    Parameters
    ----------
    drop, flip, duplicate : float
        A byte is lost, has one bit flipped, comes twice.
    cut : float
        The rest of what was sent in one piece is lost from here on.
    delay : float
        The rest of what was sent in one piece arrives only with the next piece.
    """

    drop: float = 0.0
    flip: float = 0.0
    duplicate: float = 0.0
    cut: float = 0.0
    delay: float = 0.0


class FaultyChannel:
    """One direction: damages pieces of a stream, repeatably.

    Parameters
    ----------
    faults : Faults
        How often bytes suffer.
    seed : int
        Repeats the same faults for the same bytes in the same pieces.
    """

    def __init__(self, faults: Faults, seed: int):
        self._faults = faults
        self._random = random.Random(seed)
        self._held = b""
        self._total = sum(dataclasses.astuple(faults))

    def __call__(self, data: bytes) -> bytes:
        """Return what arrives of the next piece."""
        out = bytearray(self._held)
        self._held = b""
        position = 0
        while True:
            clean = self._clean_bytes()
            if clean >= len(data) - position:
                return bytes(out + data[position:])
            out += data[position:position + clean]
            position += clean
            kind = self._kind()
            if kind == "cut":
                return bytes(out)
            if kind == "delay":
                self._held = bytes(data[position:])
                return bytes(out)
            byte = data[position]
            position += 1
            if kind == "flip":
                out.append(byte ^ 1 << self._random.randrange(8))
            elif kind == "duplicate":
                out += bytes((byte, byte))

    def _clean_bytes(self) -> int:
        if self._total == 0:
            return 1 << 62
        return int(self._random.expovariate(self._total))

    def _kind(self) -> str:
        names = [field.name for field in dataclasses.fields(self._faults)]
        return self._random.choices(names, dataclasses.astuple(self._faults))[0]


class FaultyTransport(Transport):
    """Another transport with faults in both directions.

    Parameters
    ----------
    inner : Transport
        What really carries the bytes.
    faults : Faults
        How often they suffer, in each direction.
    seed : int
        Repeats the same faults for the same bytes in the same pieces.
    gone_after : int or None
        The device disappears when this many bytes have been read from it.
    """

    def __init__(self, inner: Transport, faults: Faults, *, seed: int,
                 gone_after: int | None = None):
        self.name = inner.name
        self.retry_seconds = inner.retry_seconds
        self.rate = inner.rate
        self._inner = inner
        self._to_device = FaultyChannel(faults, 2 * seed)
        self._to_host = FaultyChannel(faults, 2 * seed + 1)
        self._left = gone_after

    def read(self, timeout: float) -> bytes:
        self._check()
        data = self._inner.read(timeout)
        if self._left is not None:
            data = data[:self._left]
            self._left -= len(data)
        return self._to_host(data) if data else b""

    def write(self, data: bytes) -> None:
        self._check()
        damaged = self._to_device(data)
        if damaged:
            self._inner.write(damaged)

    def now(self) -> float:
        return self._inner.now()

    def clock(self) -> float | None:
        return self._inner.clock()

    def close(self) -> None:
        self._inner.close()

    def _check(self) -> None:
        if self._left == 0:
            raise DeviceError(f"The device at {self.name} went away (a fault of the test): start "
                              "it again and repeat the command.")
