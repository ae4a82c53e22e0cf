"""The link: frames in a stream of bytes, and two ends of it over a wire that loses and damages."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.errors import DeviceError
from tritstream.link.endpoint import HOST_CAPACITY, Endpoint, LinkOptions
from tritstream.link.frames import MAX_FRAME, Frame, Parser
from tritstream.link.protocol import DEVICE_ROOM, HOST_ROOM, MAX_PAYLOAD, SYNC, Kind
from tritstream.link.stream import LEAST_RATE, SLOWDOWN, LinkStream
from tritstream.transport import Faults, Transport
from tritstream.transport.faulty import FaultyChannel

repeatable = settings(deadline=None, derandomize=True)

octets = st.integers(0, 255)
payloads = st.binary(min_size=1, max_size=MAX_PAYLOAD)
frames = st.one_of(
    st.builds(Frame, st.just(Kind.DATA), octets, octets, octets, payloads),
    st.builds(Frame, st.sampled_from([Kind.ACK, Kind.NAK, Kind.RESET, Kind.RESET_ACK]),
              octets, octets, octets, st.just(b"")),
)


def pieces_of(data, seed):
    """Cut `data` into pieces of random sizes."""
    chance = random.Random(seed)
    start = 0
    while start < len(data):
        size = chance.choice([1, 2, 7, 100, 600])
        yield data[start:start + size]
        start += size


def parse(data, seed=0):
    parser = Parser()
    return [frame for piece in pieces_of(data, seed) for frame in parser.feed(piece)]


@repeatable
@given(st.lists(frames, max_size=8), st.integers(0, 1000))
def test_frames_survive_any_cutting(sent, seed):
    assert parse(b"".join(frame.encode() for frame in sent), seed) == sent


@repeatable
@given(frames, st.binary(max_size=100).map(lambda noise: noise.replace(bytes([SYNC]), b"")))
def test_bytes_between_frames_are_dropped(frame, noise):
    assert parse(noise + frame.encode() + noise + frame.encode()) == [frame, frame]


@repeatable
@given(frames, st.data())
def test_no_flipped_bit_is_taken_for_a_frame(frame, data):
    damaged = bytearray(frame.encode())
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    assert set(parse(bytes(damaged) + bytes(MAX_FRAME))) <= {None}


def test_a_frame_has_the_documented_bytes():
    frame = Frame(Kind.DATA, 1, 2, 3, b"123456789")
    assert frame.encode()[:-4] == bytes.fromhex("a5 00 01 02 03 09 00") + b"123456789"
    assert Frame(Kind.ACK, 0, 5, 64).encode() == bytes.fromhex("a5 01 00 05 40 00 00 f4 0f da 3d")


@pytest.mark.parametrize("header", [
    "a5 05 00 00 00 00 00",         # unknown kind
    "a5 00 00 00 00 00 00",         # data without payload
    "a5 00 00 00 00 01 02",         # 513 bytes of payload
    "a5 01 00 00 00 01 00",         # acknowledgement with payload
])
def test_impossible_headers_cost_seven_bytes(header):
    frame = Frame(Kind.ACK, 0, 1, 2)
    assert parse(bytes.fromhex(header) + frame.encode()) == [None, frame]


class Wire:
    """Two ends, a fault on every byte's way, and a clock that the test moves."""

    STEP = 0.001

    def __init__(self, *, faults=None, seed=0, retry_seconds=0.05):
        options = dict(retry_seconds=retry_seconds)
        self.host = Endpoint(LinkOptions(**options))
        self.device = Endpoint(LinkOptions.for_device(**options))
        faults = Faults() if faults is None else faults
        self.channels = (FaultyChannel(faults, 2 * seed), FaultyChannel(faults, 2 * seed + 1))
        self.parsers = (Parser(), Parser())
        self.frames = ([], [])              # that arrive whole: at the device, at the host
        self.now = 0.0

    def step(self):
        """Carry what each end has to say to the other, and let a moment pass."""
        self.carry(self.host, self.device, 0)
        self.carry(self.device, self.host, 1)
        self.now += self.STEP

    def carry(self, source, sink, direction):
        data = self.channels[direction](source.transmit(self.now))
        self.frames[direction].extend(filter(None, self.parsers[direction].feed(data)))
        if data:
            sink.receive(data, self.now)

    def connect(self, nonce=7):
        self.host.start_reset(nonce)
        self.until(lambda: self.host.connected)

    def until(self, done, steps=20_000):
        for _ in range(steps):
            if done():
                return
            self.step()
        raise AssertionError(f"not done after {steps} steps")

    def count(self, direction, kind):
        return sum(frame.kind == kind for frame in self.frames[direction])

    def deliver(self, downwards, upwards, slowness=1):
        """Send streams both ways at once; the device reads only every `slowness` steps."""
        self.host.write(downwards)
        self.host.push()
        self.device.write(upwards)
        self.device.push()
        got = (bytearray(), bytearray())
        steps = 0

        def done():
            nonlocal steps
            steps += 1
            if steps % slowness == 0:
                got[0].extend(self.device.read(min(self.device.available, 700)))
            got[1].extend(self.host.read(self.host.available))
            return len(got[0]) >= len(downwards) and len(got[1]) >= len(upwards)

        self.until(done, 200_000)
        assert got == (downwards, upwards)


FAULTS = {
    "clean": Faults(),
    "lost": Faults(drop=1e-3),
    "flipped": Faults(flip=1e-3),
    "doubled": Faults(duplicate=1e-3),
    "half sent": Faults(cut=5e-4),
    "late": Faults(delay=1e-3),
    "all": Faults(drop=2e-4, flip=2e-4, duplicate=2e-4, cut=2e-4, delay=2e-4),
}


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", FAULTS)
def test_streams_arrive_exactly(name, case, seed):
    wire = Wire(faults=FAULTS[name], seed=100 * seed + case)
    chance = random.Random(case)
    wire.connect()
    wire.deliver(chance.randbytes(100_000), chance.randbytes(100_000))
    assert (wire.device.statistics.bad > 0) == (name not in ("clean", "late"))


@settings(repeatable, max_examples=40)
@given(st.integers(0, 1 << 30), st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 40),
       st.builds(Faults, drop=st.floats(0, 2e-3), flip=st.floats(0, 2e-3),
                 duplicate=st.floats(0, 2e-3), cut=st.floats(0, 1e-3), delay=st.floats(0, 1e-3)))
def test_any_faults_any_sizes(seed, down, up, slowness, faults):
    wire = Wire(faults=faults, seed=seed)
    chance = random.Random(seed)
    wire.connect()
    wire.deliver(chance.randbytes(down), chance.randbytes(up), slowness)


def test_numbers_wrap():
    wire = Wire()
    wire.connect()
    data = random.Random(1).randbytes(600 * MAX_PAYLOAD)
    wire.deliver(data, data)
    assert wire.host.statistics.resent == wire.device.statistics.resent == 0


def test_acknowledgements_are_few():
    wire = Wire()
    wire.connect()
    wire.deliver(bytes(400 * MAX_PAYLOAD), b"")
    assert wire.count(0, Kind.DATA) == 400
    assert wire.count(1, Kind.ACK) <= 400 // (DEVICE_ROOM // 2) + 1
    wire.deliver(b"", bytes(400 * MAX_PAYLOAD))
    assert wire.count(1, Kind.DATA) == 400
    assert wire.count(0, Kind.ACK) <= 400 // 2 + 1


def test_acknowledgements_travel_with_data():
    wire = Wire()
    wire.connect()
    wire.deliver(bytes(200_000), bytes(200_000))
    assert wire.count(0, Kind.ACK) < 5
    assert wire.count(1, Kind.ACK) < 400 // (DEVICE_ROOM // 2)


def test_no_more_than_the_credit_is_under_way():
    wire = Wire()
    wire.connect()
    wire.host.write(bytes(100_000))
    wire.until(lambda: wire.device.available == DEVICE_ROOM * MAX_PAYLOAD)
    for _ in range(20):
        wire.step()
    assert wire.count(0, Kind.DATA) == DEVICE_ROOM


def test_a_lost_grant_of_credit_stops_nothing():
    wire = Wire()
    wire.connect()
    wire.host.write(bytes(20 * MAX_PAYLOAD))
    wire.until(lambda: wire.device.available == DEVICE_ROOM * MAX_PAYLOAD)
    for _ in range(10):
        wire.step()
    assert wire.frames[1][-1].credit == 0
    wire.device.read(wire.device.available)
    assert wire.device.transmit(wire.now)       # the grant, which does not arrive
    wire.until(lambda: wire.device.available == DEVICE_ROOM * MAX_PAYLOAD)


def test_a_gap_is_complained_of_once():
    wire = Wire()
    wire.connect()
    for seq in (1, 2, 3):
        frame = Frame(Kind.DATA, seq, 0, HOST_ROOM, b"x")
        wire.device.receive(frame.encode(), wire.now)
    wire.step()
    wire.step()
    assert wire.count(1, Kind.NAK) == 1
    assert wire.device.statistics.out_of_order == 3
    assert wire.device.available == 0


def test_a_half_frame_is_given_up():
    wire = Wire()
    wire.connect()
    whole = Frame(Kind.DATA, 0, 0, HOST_ROOM, bytes(100)).encode()
    wire.host.receive(whole[:50], wire.now)
    wire.until(lambda: wire.host.statistics.bad == 1, steps=100)
    wire.host.receive(whole, wire.now)
    assert wire.host.available == 100


def test_repetition_ends_a_half_frame_at_once():
    wire = Wire(retry_seconds=0.05)
    wire.connect()
    # A device without any timer for it: half a frame of the largest size hides what follows.
    parser = Parser()
    parser.feed(Frame(Kind.DATA, 9, 0, HOST_ROOM, bytes(MAX_PAYLOAD)).encode()[:20])
    wire.host.write(b"hello")
    wire.host.push()
    assert parser.feed(wire.host.transmit(wire.now)) == []
    found = parser.feed(wire.host.transmit(wire.now + 0.06))
    assert found[0] is None
    assert found[-1].payload == b"hello"


def test_reset_forgets_everything_under_way():
    wire = Wire()
    wire.connect()
    wire.host.write(bytes(50_000))
    wire.device.write(bytes(50_000))
    for _ in range(3):
        wire.step()
    wire.connect(nonce=8)
    assert wire.device.resets == 2
    assert wire.device.available == wire.host.available == 0
    wire.deliver(b"after", b"reset")


def test_reset_in_the_middle_of_a_frame():
    wire = Wire()
    wire.connect()
    wire.device.receive(Frame(Kind.DATA, 0, 0, 64, bytes(512)).encode()[:100], wire.now)
    wire.connect(nonce=8)
    wire.deliver(b"after", b"reset")
    assert wire.now < 0.05              # no timer was needed


def test_only_the_right_nonce_answers():
    wire = Wire()
    wire.host.start_reset(5)
    wire.host.receive(Frame(Kind.RESET_ACK, 4, 0, DEVICE_ROOM).encode(), 0.0)
    assert not wire.host.connected
    wire.host.receive(Frame(Kind.RESET_ACK, 5, 0, DEVICE_ROOM).encode(), 0.0)
    assert wire.host.connected


def test_a_late_second_answer_to_reset_changes_nothing():
    wire = Wire()
    wire.connect(nonce=5)
    wire.deliver(b"one", b"two")
    wire.host.receive(Frame(Kind.RESET_ACK, 5, 0, 0).encode(), wire.now)
    wire.deliver(b"three", b"four")


def test_old_acknowledgements_are_ignored():
    wire = Wire()
    wire.connect()
    wire.deliver(bytes(10 * MAX_PAYLOAD), b"")
    wire.host.receive(Frame(Kind.ACK, 0, 3, 0).encode(), wire.now)
    wire.deliver(bytes(10 * MAX_PAYLOAD), b"")
    assert wire.host.statistics.resent == 0


def test_a_probe_is_answered():
    wire = Wire()
    wire.connect()
    wire.deliver(b"command", b"")
    wire.until(lambda: wire.host.idle)
    received_at = wire.host.received_at
    wire.host.probe()
    wire.until(lambda: wire.host.received_at > received_at, steps=10)
    assert wire.device.available == 0


def test_options_are_those_of_the_document():
    host, device = LinkOptions(), LinkOptions.for_device()
    assert (host.room, host.ack_frames, host.capacity) == (64, 2, 1 << 24)
    assert (device.room, device.window, device.ack_frames, device.capacity) == (8, 4, 4, 8 * 512)
    assert {f.name for f in dataclasses.fields(host)} >= {"ack_seconds", "retry_seconds"}


# Other ends that mean no good. Time is the fakes' own, so that minutes cost nothing.

class Hostile(Transport):
    """The other end of a `LinkStream`: answers RESET, then goes on as `go_on` says.

    `go_on` is a generator function that is given this object and yields pairs of seconds to let
    pass and bytes to send then; `written` is what the host has sent.
    """

    name = "hostile"

    def __init__(self, go_on, credit=DEVICE_ROOM):
        self.written = []
        self._parser = Parser()
        self._credit = credit
        self._now = 0.0
        self._pieces = go_on(self)
        self._answer = b""
        self._due = self._next = None

    def now(self):
        return self._now

    def write(self, data):
        for frame in filter(None, self._parser.feed(data)):
            self.written.append(frame)
            if frame.kind == Kind.RESET:
                self._answer = Frame(Kind.RESET_ACK, frame.seq, 0, self._credit).encode()

    def read(self, timeout):
        self._answer, answer = b"", self._answer
        if answer:
            return answer
        if self._due is None:
            seconds, self._next = next(self._pieces)
            self._due = self._now + seconds
        if self._due > self._now + timeout:
            self._now += timeout + 1e-6
            return b""
        self._now, self._due = max(self._now, self._due), None
        return self._next

    def close(self):
        pass


def flood(hostile):
    """Grant no credit, acknowledge nothing, and send data for ever."""
    seq = 0
    while True:
        frames = [Frame(Kind.DATA, seq + n & 255, 0, 0, bytes(MAX_PAYLOAD)) for n in range(64)]
        seq += len(frames)
        yield 0.1, b"".join(frame.encode() for frame in frames)


def crumbs(hostile):
    """The same, in frames of one byte."""
    seq = 0
    while True:
        frames = [Frame(Kind.DATA, seq + n & 255, 0, 0, b"x") for n in range(1000)]
        seq += len(frames)
        yield 0.1, b"".join(frame.encode() for frame in frames)


def drip(hostile):
    """Send one byte whenever patience is nearly over."""
    seq = 0
    while True:
        yield 9.0, Frame(Kind.DATA, seq & 255, 0, DEVICE_ROOM, b"x").encode()
        seq += 1


def grudge(hostile):
    """Acknowledge one frame whenever patience is nearly over."""
    acked = 0
    while True:
        acked = min(acked + 1, sum(frame.kind == Kind.DATA for frame in hostile.written))
        yield 9.0, Frame(Kind.ACK, 0, acked & 255, DEVICE_ROOM).encode()


def complain(hostile):
    """Ask for everything again, and again."""
    while True:
        yield 0.1, 100 * Frame(Kind.NAK, 0, 0, DEVICE_ROOM).encode()


def babble(hostile):
    """Send the beginnings of frames between two that are good."""
    while True:
        yield 1.0, Frame(Kind.ACK, 0, 0, 0).encode() + bytes([SYNC, 0, 0, 0, 0, 255, 1]) * 100


def restart(hostile):
    """Answer the RESET again and again."""
    while True:
        yield 0.5, b"".join(Frame(Kind.RESET_ACK, nonce, 0, 0).encode() for nonce in range(256))


PATIENCE = 10.0


def read_much(stream):
    stream.read(1 << 16)


def write_much(stream):
    stream.write(bytes(1 << 20))


def ask(stream):
    stream.write(b"?")
    stream.read(1000)


@pytest.mark.parametrize("call, size", [(read_much, 1 << 16), (write_much, 1 << 20), (ask, 1000)])
@pytest.mark.parametrize("behaviour", [flood, crumbs, drip, grudge, complain, babble, restart])
def test_every_call_ends(behaviour, call, size):
    hostile = Hostile(behaviour)
    stream = LinkStream(hostile, LinkOptions(), dead_seconds=10.0, patience_seconds=PATIENCE)
    stream.reset()
    began = hostile.now()
    if (behaviour, call) in ((flood, read_much), (crumbs, read_much), (flood, ask), (crumbs, ask)):
        call(stream)                    # what was asked for did come
    else:
        with pytest.raises(DeviceError, match="too slow to use|has not moved|not answered") as err:
            call(stream)
        assert err.value.exit_code == 4
    assert hostile.now() - began <= PATIENCE + SLOWDOWN * size / LEAST_RATE + 1
    assert stream.available <= HOST_CAPACITY


@pytest.mark.parametrize("behaviour", [flood, crumbs])
def test_what_nobody_reads_is_bounded(behaviour):
    capacity = 1 << 16
    hostile = Hostile(behaviour, credit=0)
    stream = LinkStream(hostile, LinkOptions(capacity=capacity), patience_seconds=PATIENCE)
    stream.reset()
    with pytest.raises(DeviceError, match="has not moved for 10 s"):
        stream.write(bytes(1 << 20))
    assert capacity - MAX_PAYLOAD < stream.available <= capacity
    assert hostile.written[-1].credit == 0
    before = len(hostile.written)
    with pytest.raises(DeviceError, match="has not moved for 10 s"):
        stream.write(bytes(1 << 20))
    assert all(frame.credit == 0 for frame in hostile.written[before:])
    stream.read(capacity)               # what is kept is whole, and makes room again
    stream.settle()
    assert hostile.written[-1].credit > 0


def test_a_frame_that_just_fits():
    host = Endpoint(LinkOptions(capacity=700))
    host.start_reset(1)
    host.receive(Frame(Kind.RESET_ACK, 1, 0, 8).encode(), 0.0)
    for seq, size in enumerate([400, 300, 1]):
        host.receive(Frame(Kind.DATA, seq, 0, 8, bytes(size)).encode(), 0.0)
    assert host.available == 700
    host.read(1)
    host.receive(Frame(Kind.DATA, 2, 0, 8, b"x").encode(), 0.0)
    assert host.available == 700


@repeatable
@given(st.lists(st.one_of(frames.map(Frame.encode), st.binary(max_size=600)), max_size=30),
       st.integers(0, 1000))
def test_an_end_survives_whatever_comes(pieces, seed):
    for options in (LinkOptions(capacity=1000), LinkOptions.for_device(capacity=1000)):
        end = Endpoint(options)
        end.start_reset(1)
        end.write(bytes(5000))
        end.push()
        now = 0.0
        for piece in pieces_of(Frame(Kind.RESET_ACK, 1, 0, 8).encode() + b"".join(pieces), seed):
            end.receive(piece, now)
            assert end.available <= 1000
            assert len(end.transmit(now)) <= (HOST_ROOM + 4) * MAX_FRAME
            now += 0.3
