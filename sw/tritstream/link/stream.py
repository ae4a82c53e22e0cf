"""A reliable stream of bytes over a transport, with bounded waits."""

import contextlib

from tritstream.errors import DeviceError
from tritstream.link.endpoint import Endpoint, LinkOptions
from tritstream.link.transport import Transport

__all__ = ["LinkReset", "LinkStream"]

BUFFER = 1 << 15            # bytes taken from the writer ahead of the frames
PROBE_SECONDS = 1.0
LONGEST_TURN = 0.1          # bounds how late a probe or the end of a wait is seen

SLOWDOWN = 4
"""Times as long as its bytes need that a call may take: a link that repeats more is broken."""

LEAST_RATE = 4000.0
"""Bytes per second of a transport that does not know its rate: a tenth of a simulated board's."""


class LinkReset(Exception):
    """The host has started anew: a device abandons what it was doing."""


class LinkStream:
    """One end of the link on a transport.

    Everything happens on the caller's thread, in `read`, `write`, `flush` and `settle`: while none
    of them runs, the other end waits or repeats itself. An interrupt between any two bytes is
    mended by `reset`.

    Every call ends: after `dead_seconds` of silence, after `patience_seconds` in which nothing that
    it waits for has come nearer, and in all after `patience_seconds` and `SLOWDOWN` times as long
    as its bytes take at the rate of the transport. A transport's own write, of at most a window,
    comes on top.

    Parameters
    ----------
    transport : Transport
        What carries the bytes; it is closed with the stream.
    options : LinkOptions
        Which end this is.
    dead_seconds : float or None
        Fail when nothing at all has come from the other end for so long, though it was asked.
    patience_seconds : float or None
        Fail when the other end lives but what is waited for has come no nearer for so long.
    clock : callable or None
        Seconds, monotonic; None: the transport's.
    """

    def __init__(self, transport: Transport, options: LinkOptions, *,
                 dead_seconds: float | None = 10.0, patience_seconds: float | None = 300.0,
                 clock=None):
        self.transport = transport
        self.endpoint = Endpoint(options)
        self._dead_seconds = float("inf") if dead_seconds is None else dead_seconds
        self._patience_seconds = float("inf") if patience_seconds is None else patience_seconds
        self._clock = transport.now if clock is None else clock
        self._limit = float("inf")      # time at which the call under way ends
        self._resets = 0

    @contextlib.contextmanager
    def limited(self, size: int):
        """Bound what is done in this context by the time that `size` bytes may take."""
        usual = self._limit
        rate = self.transport.rate or LEAST_RATE
        seconds = self._patience_seconds + SLOWDOWN * size / rate
        self._limit = min(usual, self._clock() + seconds)
        try:
            yield
        finally:
            self._limit = usual

    def reset(self) -> None:
        """Start both ends anew; everything under way is lost."""
        self.endpoint.start_reset(self.transport.nonce())
        self._wait(lambda: self.endpoint.connected, self._dead_seconds)

    def write(self, data) -> None:
        """Send bytes; they may wait for company until `flush` or `read`."""
        view = memoryview(data).cast("B")
        with self.limited(len(view)):
            while len(view):
                self._wait(lambda: self.endpoint.pending < BUFFER)
                self.endpoint.write(view[:BUFFER])
                view = view[BUFFER:]

    def flush(self) -> None:
        """Let everything written so far go, as far as the other end has room."""
        self.endpoint.push()
        self._turn(0)

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self.endpoint.push()
        pieces = []
        with self.limited(count):
            while count:
                # Taken as it comes: more than an end has room for arrives only when that is freed.
                self._wait(lambda: self.endpoint.available)
                piece = self.endpoint.read(min(count, self.endpoint.available))
                count -= len(piece)
                pieces.append(piece)
        return b"".join(pieces)

    def poll(self) -> int:
        """Let the link work without waiting; return how many bytes can be read at once."""
        self._turn(0)
        return self.endpoint.available

    @property
    def available(self) -> int:
        """Bytes that can be read at once."""
        return self.endpoint.available

    @contextlib.contextmanager
    def impatient(self, dead_seconds: float):
        """Give a silent other end no more than `dead_seconds` inside this context."""
        usual = self._dead_seconds
        self._dead_seconds = min(usual, dead_seconds)
        try:
            yield
        finally:
            self._dead_seconds = usual

    def settle(self) -> None:
        """Acknowledge everything, before a time in which the stream is not used."""
        self.endpoint.flush_ack()
        self._send()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def _send(self) -> None:
        data = self.endpoint.transmit(self._clock())
        if data:
            self.transport.write(data)

    def _turn(self, longest: float) -> None:
        """Send what can be sent, and receive what comes within `longest` seconds."""
        self._send()
        wait = min(longest, self.endpoint.deadline() - self._clock())
        data = self.transport.read(max(0.0, wait))
        if data:
            self.endpoint.receive(data, self._clock())
        if self.endpoint.resets != self._resets:
            self._resets = self.endpoint.resets
            raise LinkReset

    def _wait(self, done, patience_seconds: float | None = None) -> None:
        patience = self._patience_seconds if patience_seconds is None else patience_seconds
        start = moved_at = self._clock()
        interval = min(PROBE_SECONDS, self._dead_seconds / 4)
        probe_at = start + interval
        # Bytes that come are no progress: those that a read waits for end the wait at once.
        acknowledged = self.endpoint.acknowledged
        while not done():
            self._turn(LONGEST_TURN)
            now = self._clock()
            if self.endpoint.acknowledged != acknowledged:
                acknowledged = self.endpoint.acknowledged
                moved_at = now
            quiet = now - max(start, self.endpoint.received_at)
            if quiet >= self._dead_seconds:
                raise self._dead(quiet)
            if now - moved_at >= patience:
                raise DeviceError(f"The device at {self.transport.name} is alive but has not moved "
                                  f"for {round(now - moved_at, 1):g} s: reset the board, or "
                                  "allow it more time.")
            if now >= self._limit:
                raise self._slow()
            if now >= probe_at:
                self.endpoint.probe()
                probe_at = now + interval

    def _slow(self) -> DeviceError:
        counts = self.endpoint.statistics
        return DeviceError(f"The link to {self.transport.name} is too slow to use ({counts.good} "
                           f"good and {counts.bad} damaged frames have come, {counts.resent} of "
                           f"{counts.sent} were sent again): check its cable and its baud rate.")

    def _dead(self, seconds: float) -> DeviceError:
        name = self.transport.name
        silence = f"{round(seconds, 1):g} s"
        counts = self.endpoint.statistics
        if counts.good:
            return DeviceError(f"The device at {name} has not answered for {silence} "
                               f"({counts.good} good and {counts.bad} damaged frames before): "
                               "check that it still runs, and repeat the command.")
        if self.endpoint.bytes_received:
            return DeviceError(f"The device at {name} answers garbage "
                               f"({self.endpoint.bytes_received} bytes without one good frame): "
                               "check the baud rate, and that the board holds a tritstream "
                               "bitstream.")
        return DeviceError(f"The device at {name} does not answer (nothing came for {silence}): "
                           "check that it is the right port, that no other program is using it, "
                           "and that the board holds a tritstream bitstream.")
