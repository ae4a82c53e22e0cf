"""An emulated device on the driver's own thread, in a time of its own."""

import random

from tritstream.link.endpoint import Endpoint
from tritstream.transport import Faults, Transport
from tritstream.transport.faulty import FaultyChannel
from tritstream_sim.twin.emulator import Emulator

__all__ = ["InProcessTransport"]

BACKLOG = 1 << 14           # bytes of replies that may wait for the link before the next command
TICK = 1e-4                 # seconds that the shortest step takes


class InProcessTransport(Transport):
    """A driver's cable to an emulator, without threads or sockets: the same seed, the same session.

    Time passes only while the driver reads, and by the bytes that are carried.

    Parameters
    ----------
    emulator : Emulator
        The device at the other end.
    faults : Faults
        What happens to bytes, in either direction.
    seed : int
        Of the faults.
    rate : float or None
        Bytes per second; None: time does not pass by bytes.
    lie : callable or None
        Given each reply of the emulator, returns what is sent in its place.
    """

    retry_seconds = 0.05
    name = "emulator"

    def __init__(self, emulator: Emulator, *, faults: Faults | None = None, seed: int = 0,
                 rate: float | None = None, lie=None):
        self.rate = rate
        self._emulator = emulator
        self._endpoint = Endpoint(emulator.link)
        emulator.statistics = self._endpoint.statistics
        emulator.behind = lambda: self._endpoint.available
        faults = Faults() if faults is None else faults
        self._to_device = FaultyChannel(faults, 2 * seed)
        self._to_host = FaultyChannel(faults, 2 * seed + 1)
        self._nonces = random.Random(seed)
        self._lie = lie or (lambda reply: reply)
        self._now = 0.0
        self._resets = 0
        self._start()

    def now(self) -> float:
        return self._now

    def nonce(self) -> int:
        return self._nonces.randrange(256)

    def write(self, data: bytes) -> None:
        self._pass_time(len(data))
        self._endpoint.receive(self._to_device(bytes(data)), self._now)

    def read(self, timeout: float) -> bytes:
        end = self._now + timeout
        while True:
            self._work()
            data = self._to_host(self._endpoint.transmit(self._now))
            if data:
                self._pass_time(len(data))
                return data
            if self._now >= end:
                return b""
            self._now = max(self._now + TICK, min(end, self._endpoint.deadline()))

    def close(self) -> None:
        pass

    def _pass_time(self, count: int) -> None:
        if self.rate is not None:
            self._now += count / self.rate

    def _start(self) -> None:
        self._program = self._emulator.commands()
        self._wanted = next(self._program)
        self._given = bytearray()

    def _work(self) -> None:
        """Let the device do what it can with what has come, and a pass of a run at most."""
        if self._endpoint.resets != self._resets:
            self._resets = self._endpoint.resets
            self._emulator.reset()
            self._start()
        while self._endpoint.pending < BACKLOG:
            count = min(self._wanted - len(self._given), self._endpoint.available)
            self._given += self._endpoint.read(count)
            if len(self._given) < self._wanted:
                return
            self._wanted = self._program.send(bytes(self._given))
            self._given.clear()
            reply = self._emulator.take_output()
            if reply:
                self._endpoint.write(self._lie(reply))
                self._endpoint.push()
                if not self._wanted:
                    return
