"""One end of the link as a state machine without clock and port: see `docs/link.md`.

The same class is the host's end and that of an emulated device. It is given the bytes that have
come and the time, and gives the bytes to be sent; `tritstream.link.stream` connects it with a
transport.
"""

import collections
import dataclasses

from tritstream.link.frames import MAX_FRAME, Frame, Parser
from tritstream.link.protocol import DEVICE_ROOM, DEVICE_WINDOW, HOST_ROOM, MAX_PAYLOAD, Kind

__all__ = ["Endpoint", "LinkOptions", "LinkStatistics"]

FILLER = bytes(MAX_FRAME)
"""Whatever frame the other side believes to be in, it ends within these bytes."""

MOST_BACKOFF = 8

HOST_CAPACITY = 1 << 24
"""Bytes that wait unread at the host: more than the passes that the driver has under way answer,
with all logits of 200,000 tokens. It is the device's turn to wait beyond that.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkOptions:
    """What differs between the two ends.

    Parameters
    ----------
    device : bool
        Whether this end answers a RESET rather than asks for one.
    room : int
        Frames that may be on their way to this end.
    capacity : int
        Bytes that may wait here unread; none are accepted beyond, and `room` shrinks to what fits.
    window : int
        Frames that this end keeps until they are acknowledged.
    ack_frames : int
        Frames after which an acknowledgement is sent.
    ack_seconds : float
        Longest time that an acknowledgement waits for company.
    retry_seconds : float
        Time without progress after which frames are sent again; it doubles each time, up to
        eightfold.
    """

    device: bool = False
    room: int = HOST_ROOM
    capacity: int = HOST_CAPACITY
    window: int = HOST_ROOM
    ack_frames: int = DEVICE_WINDOW // 2
    ack_seconds: float = 0.005
    retry_seconds: float = 1.0

    @classmethod
    def for_device(cls, **changes) -> "LinkOptions":
        """Return what the gateware has, with `changes`."""
        options = dict(device=True, room=DEVICE_ROOM, capacity=DEVICE_ROOM * MAX_PAYLOAD,
                       window=DEVICE_WINDOW, ack_frames=DEVICE_ROOM // 2)
        return cls(**(options | changes))


@dataclasses.dataclass
class LinkStatistics:
    """Counts of frames since the endpoint was made."""

    good: int = 0
    bad: int = 0
    out_of_order: int = 0
    sent: int = 0
    resent: int = 0


class Endpoint:
    """Frames, acknowledgements and repetition of one end.

    Parameters
    ----------
    options : LinkOptions
        Which end this is.
    """

    def __init__(self, options: LinkOptions):
        self.options = options
        self.statistics = LinkStatistics()
        self.connected = False
        self.resets = 0                 # times that the other side started anew
        self.received_at = float("-inf")    # time of the latest good frame
        self.bytes_received = 0
        self.acknowledged = 0           # frames that the other side has acknowledged
        self._nonce = None              # of the RESET under way, or of that to be answered
        self._parser = Parser()
        self._byte_at = float("-inf")
        self._start()

    def _start(self) -> None:
        # To the other side: bytes not yet in frames, frames not yet acknowledged.
        self._pending = bytearray()
        self._pushed = False
        self._unacked = collections.deque()
        self._base = 0                  # sequence number of the first of them
        self._cursor = 0                # index of the next one to send
        self._credit = 0
        self._newest_acked = None
        self._repeat_newest = False
        self._probing = False           # one frame may go without credit
        self._filling = False           # FILLER goes first
        self._retry_at = None
        self._backoff = 1
        # From the other side.
        self._unread = bytearray()
        self._expected = 0
        self._advertised = self._room()     # expected + room in the latest frame sent
        self._ack_at = None             # when an acknowledgement is due at the latest
        self._nak = False
        self._nak_next_at = None

    # The application's side.

    @property
    def available(self) -> int:
        """Bytes that can be read."""
        return len(self._unread)

    @property
    def pending(self) -> int:
        """Bytes written that are not yet in a frame."""
        return len(self._pending)

    @property
    def idle(self) -> bool:
        """Whether everything written has been sent and acknowledged."""
        return not self._pending and not self._unacked

    def write(self, data) -> None:
        """Append bytes to the stream; whole frames of them go by themselves."""
        self._pending += data
        self._pushed = False

    def push(self) -> None:
        """Let the bytes written so far go, though they may not fill a frame."""
        self._pushed = True

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes of the stream, which must be available."""
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def start_reset(self, nonce: int) -> None:
        """Ask the other side to start anew; `connected` says when it has."""
        self._start()
        self.connected = False
        self._nonce = nonce

    def flush_ack(self) -> None:
        """Let an acknowledgement that waits for company go now."""
        if self._ack_at is not None:
            self._ack_at = float("-inf")

    def probe(self) -> None:
        """Make the other side say something, although all is acknowledged."""
        self._repeat_newest = self.idle and self._newest_acked is not None

    # The wire's side.

    def deadline(self) -> float:
        """Time at which `transmit` has something to send even if nothing comes before."""
        times = [self._retry_at, self._ack_at]
        if self._parser.pending:
            times.append(self._byte_at + self.options.retry_seconds)
        return min((time for time in times if time is not None), default=float("inf"))

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the other side."""
        self.bytes_received += len(data)
        self._byte_at = now
        for frame in self._parser.feed(data):
            if frame is None:
                self._damaged(now)
            else:
                self.statistics.good += 1
                self.received_at = now
                self._dispatch(frame, now)

    def transmit(self, now: float) -> bytes:
        """Return the bytes to send at time `now`."""
        if self._parser.pending and now >= self._byte_at + self.options.retry_seconds:
            self._parser.abandon()
            self._damaged(now)
        if not self.connected:
            return self._transmit_reset(now)
        self._expire(now)
        frames = []
        if self._nonce is not None:
            frames.append(self._frame(Kind.RESET_ACK, self._nonce))
            self._nonce = None
        if self._repeat_newest:
            frames.append(self._frame(Kind.DATA, self._base - 1, self._newest_acked))
            self._repeat_newest = False
        frames += self._data_frames(now)
        if self._nak:
            frames.append(self._frame(Kind.NAK))
            self._nak = False
        elif not frames and self._ack_due(now):
            frames.append(self._frame(Kind.ACK))
        if not frames:
            return b""
        self._advertised = self._expected + self._room()
        self._ack_at = None
        return self._joined(frames)

    def _joined(self, frames) -> bytes:
        self.statistics.sent += len(frames)
        data = b"".join([frame.encode() for frame in frames])
        if self._filling:
            self._filling = False
            return FILLER + data
        return data

    def _frame(self, kind: Kind, seq: int = 0, payload: bytes = b"") -> Frame:
        return Frame(kind, seq & 255, self._expected & 255, self._room(), payload)

    def _room(self) -> int:
        return min(self.options.room, self._free // MAX_PAYLOAD)

    @property
    def _free(self) -> int:
        return self.options.capacity - len(self._unread)

    def _transmit_reset(self, now: float) -> bytes:
        if self.options.device or self._nonce is None:
            return b""
        if self._retry_at is not None and now < self._retry_at:
            return b""
        self._retry_at = now + self.options.retry_seconds
        self._filling = True
        return self._joined([self._frame(Kind.RESET, self._nonce)])

    def _data_frames(self, now: float) -> list[Frame]:
        self._cut()
        allowed = 1 if self._probing else self._credit
        self._probing = False
        frames = []
        while self._cursor < min(len(self._unacked), allowed):
            payload = self._unacked[self._cursor]
            frames.append(self._frame(Kind.DATA, self._base + self._cursor, payload))
            self._cursor += 1
        if self._unacked and self._retry_at is None:
            self._restart_retry(now)
        return frames

    def _cut(self) -> None:
        """Make frames of what is pending."""
        while len(self._unacked) < self.options.window and (
                len(self._pending) >= MAX_PAYLOAD or self._pending and self._pushed):
            self._unacked.append(bytes(self._pending[:MAX_PAYLOAD]))
            del self._pending[:MAX_PAYLOAD]

    def _ack_due(self, now: float) -> bool:
        grown = self._expected + self._room() - self._advertised
        late = self._ack_at is not None and now >= self._ack_at
        return late or grown >= self.options.ack_frames

    def _restart_retry(self, now: float) -> None:
        self._retry_at = now + self._backoff * self.options.retry_seconds if self._unacked else None

    def _expire(self, now: float) -> None:
        if self._retry_at is None or now < self._retry_at:
            return
        self._probing = self._credit == 0
        self._filling = True
        self._go_back(now)
        self._backoff = min(2 * self._backoff, MOST_BACKOFF)
        self._restart_retry(now)

    def _go_back(self, now: float) -> None:
        self.statistics.resent += self._cursor
        self._cursor = 0
        self._restart_retry(now)

    def _damaged(self, now: float) -> None:
        self.statistics.bad += 1
        self._request_repeat(now)

    def _request_repeat(self, now: float) -> None:
        if self.connected and (self._nak_next_at is None or now >= self._nak_next_at):
            self._nak = True
            self._nak_next_at = now + self.options.retry_seconds

    def _dispatch(self, frame: Frame, now: float) -> None:
        if frame.kind == Kind.RESET:
            self._accept_reset(frame)
        elif frame.kind == Kind.RESET_ACK:
            self._accept_reset_ack(frame)
        elif self.connected:
            self._accept_ack(frame, now)
            if frame.kind == Kind.NAK:
                self._go_back(now)
            elif frame.kind == Kind.DATA:
                self._accept_data(frame, now)

    def _accept_reset(self, frame: Frame) -> None:
        if self.options.device:
            self._start()
            self._credit = frame.credit
            self._nonce = frame.seq
            self.connected = True
            self.resets += 1

    def _accept_reset_ack(self, frame: Frame) -> None:
        if not self.options.device and not self.connected and frame.seq == self._nonce:
            self._credit = frame.credit
            self._nonce = None
            self._retry_at = None
            self.connected = True

    def _accept_ack(self, frame: Frame, now: float) -> None:
        count = (frame.ack - self._base) & 255
        if count > len(self._unacked):
            return                      # an old frame that came twice
        if count or frame.credit > self._credit:
            self._backoff = 1
        for _ in range(count):
            self._newest_acked = self._unacked.popleft()
        self._base = frame.ack
        self._cursor = max(0, self._cursor - count)
        self.acknowledged += count
        if count or frame.credit != self._credit:
            self._restart_retry(now)
        self._credit = frame.credit

    def _accept_data(self, frame: Frame, now: float) -> None:
        distance = (frame.seq - self._expected) & 255
        if 0 < distance < 128:
            self.statistics.out_of_order += 1
            self._request_repeat(now)
            return
        if distance == 0 and len(frame.payload) <= self._free:
            self._expected += 1
            self._unread += frame.payload
            self._nak_next_at = None
        if self._ack_at is None:
            self._ack_at = now + self.options.ack_seconds
