"""Bytes on the link that no other end would send, and links that lose what they carry."""

import contextlib
import pathlib
import random

from tritstream.link.endpoint import Endpoint, LinkOptions
from tritstream.link.frames import MAX_FRAME, Frame, Parser
from tritstream.link.protocol import HOST_ROOM, MAX_PAYLOAD, SYNC, Kind
from tritstream.transport import Faults
from tritstream.transport.faulty import FaultyChannel

__all__ = ["frames"]

CAPACITY = 2000                 # bytes that may wait unread at an end that is tried
STEP = 0.001                    # seconds that a piece takes
RETRY = 0.02
MOST_STEPS = 50_000             # until two ends have told each other everything


@contextlib.contextmanager
def frames(directory: pathlib.Path, cache: pathlib.Path | None):
    """Yield a case: damage is dropped, memory is bounded, and what arrives is what was sent."""
    def case(rng: random.Random) -> str:
        kind = rng.choice((_parse, _attack, _attack, _converse))
        kind(rng)
        return kind.__doc__

    yield case


def _parse(rng: random.Random) -> None:
    """Frames found among noise."""
    sent = [odd_frame(rng) for _ in range(rng.randrange(6))]
    noise = rng.randbytes(rng.randrange(100)).replace(bytes([SYNC]), b"")
    data = noise.join([b"", *(frame.encode() for frame in sent), b""])
    assert _found(rng, data) == sent
    damaged = bytearray(data) or bytearray(1)
    for _ in range(rng.randrange(1, 8)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    cut = bytes(damaged[rng.randrange(len(damaged)):])
    whole = Parser().feed(cut)
    assert _found(rng, cut) == [frame for frame in whole if frame is not None]
    assert all(frame in sent for frame in whole if frame is not None)


def _attack(rng: random.Random) -> None:
    """An end that survived."""
    make = rng.choice((LinkOptions, LinkOptions.for_device))
    end = Endpoint(make(capacity=CAPACITY, retry_seconds=RETRY))
    reset = Frame(rng.choice((Kind.RESET, Kind.RESET_ACK)), 1, 0, rng.randrange(256)).encode()
    now = 0.0
    end.start_reset(1)
    for _ in range(rng.randrange(1, 40)):
        piece = rng.choice((odd_frame(rng).encode(), reset, rng.randbytes(rng.randrange(700)),
                            _next_frame(rng).encode()))
        if rng.randrange(6) == 0:
            piece = piece[:rng.randrange(len(piece) + 1)]
        end.receive(piece, now)
        assert end.available <= CAPACITY
        if rng.randrange(4) == 0:
            end.write(rng.randbytes(rng.randrange(2000)))
            end.push()
        if rng.randrange(4) == 0:
            end.read(rng.randrange(end.available + 1))
        if rng.randrange(8) == 0:
            end.probe()
        assert len(end.transmit(now)) <= (HOST_ROOM + 4) * MAX_FRAME
        now += rng.choice((0.0, STEP, RETRY))


def _converse(rng: random.Random) -> None:
    """Two streams that arrived over a bad link."""
    host = Endpoint(LinkOptions(retry_seconds=RETRY))
    device = Endpoint(LinkOptions.for_device(retry_seconds=RETRY))
    faults = Faults(drop=rng.choice((0, 1e-3)), flip=rng.choice((0, 1e-3)),
                    duplicate=rng.choice((0, 1e-3)), cut=rng.choice((0, 5e-4)),
                    delay=rng.choice((0, 1e-3)))
    directions = [(host, device, FaultyChannel(faults, rng.getrandbits(32))),
                  (device, host, FaultyChannel(faults, rng.getrandbits(32)))]
    data = {end: rng.randbytes(rng.randrange(1, 3000)) for end in (host, device)}
    got = {end: bytearray() for end in (host, device)}
    host.start_reset(rng.randrange(256))
    now, silent = 0.0, {host, device}
    for _ in range(MOST_STEPS):
        for source, sink, channel in directions:
            arrives = channel(source.transmit(now))
            if arrives:
                sink.receive(arrives, now)
        # The device answers; before that a second RESET may still be on its way.
        for end, ready in ((host, host.connected), (device, device.available)):
            if ready and end in silent:
                silent.remove(end)
                end.write(data[end])
                end.push()
        for end in data:
            got[end] += end.read(rng.randrange(end.available + 1))
        if got == {host: data[device], device: data[host]}:
            return
        now += STEP
    raise AssertionError(f"not all has arrived after {MOST_STEPS} steps")


def odd_frame(rng: random.Random) -> Frame:
    """Return any frame that can be."""
    kind = rng.choice(list(Kind))
    size = rng.choice((1, 2, 100, MAX_PAYLOAD)) if kind == Kind.DATA else 0
    return Frame(kind, rng.randrange(256), rng.randrange(256), rng.randrange(256),
                 rng.randbytes(size))


def _next_frame(rng: random.Random) -> Frame:
    """Return a frame of data that an end may be waiting for."""
    return Frame(Kind.DATA, rng.randrange(4), rng.randrange(3), rng.randrange(9),
                 rng.randbytes(rng.choice((1, MAX_PAYLOAD))))


def _found(rng: random.Random, data: bytes) -> list[Frame]:
    """Return the whole frames in bytes that come in pieces."""
    parser, found, start = Parser(), [], 0
    while start < len(data):
        size = rng.choice((1, 2, 7, 100, 600))
        found += [frame for frame in parser.feed(data[start:start + size]) if frame is not None]
        assert parser.pending < MAX_FRAME
        start += size
    return found
