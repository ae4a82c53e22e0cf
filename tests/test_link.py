"""The link: frames in a stream of bytes, and two ends of it over a wire that loses and damages."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.link.endpoint import Endpoint, LinkOptions
from tritstream.link.frames import MAX_FRAME, Frame, Parser
from tritstream.link.protocol import DEVICE_ROOM, HOST_ROOM, MAX_PAYLOAD, SYNC, Kind
from tritstream.transport import Faults
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
    heard_at = wire.host.heard_at
    wire.host.probe()
    wire.until(lambda: wire.host.heard_at > heard_at, steps=10)
    assert wire.device.available == 0


def test_options_are_those_of_the_document():
    host, device = LinkOptions(), LinkOptions.for_device()
    assert (host.room, host.ack_frames, host.bounded) == (64, 2, False)
    assert (device.room, device.window, device.ack_frames, device.bounded) == (8, 4, 4, True)
    assert {f.name for f in dataclasses.fields(host)} >= {"ack_seconds", "retry_seconds"}
