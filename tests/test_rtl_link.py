"""The link's gateware against the host's end of it, and frame by frame."""

import contextlib
import itertools
import random

import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.endpoint import LinkOptions
from tritstream.link.frames import Frame, Parser
from tritstream.link.protocol import DEVICE_ROOM, DEVICE_WINDOW, HOST_ROOM, MAX_PAYLOAD, Kind
from tritstream.link.stream import LinkStream
from tritstream.transport import Faults, FaultyTransport
from tritstream_hw.link import Link
from tritstream_hw.link.tally import Tally
from tritstream_sim.agents.pysim import run
from tritstream_sim.verilate.stepped import Bench, SteppedTransport, build_stepped

pytestmark = pytest.mark.verilator

ACK_CYCLES, RETRY_CYCLES = 2_500, 8_000
FRAME_CYCLES = MAX_PAYLOAD + 15     # of the longest frame, as the gateware sends it


class Echo(wiring.Component):
    """A link that sends back what it hears.

    Each byte comes back `copies` times, then follows a pause of some cycles. A byte 0xEE asks for
    silence: from then on nothing is taken.
    """

    def __init__(self, *, pause: int = 0, copies: int = 1):
        self._pause = pause
        self._copies = copies
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = Link(ack_cycles=ACK_CYCLES, retry_cycles=RETRY_CYCLES)
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))

        idle, silent = Signal(8), Signal()
        left = Signal(8, init=self._copies)
        m.d.comb += [
            link.i.payload.eq(link.o.payload),
            link.i.valid.eq(link.o.valid & (idle == 0) & ~silent & (left != 0)),
            link.o.ready.eq((idle == 0) & ~silent & (left[1:] == 0) & (link.i.ready | (left == 0))),
        ]
        with m.If(idle != 0):
            m.d.sync += idle.eq(idle - 1)
        with m.If(link.i.valid & link.i.ready):
            m.d.sync += left.eq(left - 1)
        with m.If(link.o.valid & link.o.ready):
            m.d.sync += [left.eq(self._copies), idle.eq(self._pause)]
            m.d.sync += silent.eq(link.o.payload == 0xEE)
        with m.If(link.reset):
            m.d.sync += [left.eq(self._copies), silent.eq(0)]
        return m


FAST, SLOW, MANIFOLD, DEAF, DRAIN = range(5)


@pytest.fixture(scope="module")
def executable(request):
    """Echoes of all kinds in one executable."""
    echoes = [Echo(), Echo(pause=5), Echo(copies=100), Echo(copies=0),
              Echo(copies=0, pause=20)]
    return build_stepped(Bench(echoes), "link", request.config.rootpath / "build" / "sim")


@pytest.fixture
def port(executable, seed):
    """Start an echo."""
    with contextlib.ExitStack() as stack:
        def start(select=FAST, *, stall=0):
            transport = SteppedTransport(executable, select, stall=stall, seed=seed)
            stack.callback(transport.close)
            return transport
        yield start


class Wire:
    """The host's end frame by frame."""

    def __init__(self, transport, *, credit=HOST_ROOM):
        self._transport = transport
        self._parser = Parser()
        self.heard(Frame(Kind.RESET, 7, 0, credit))

    def heard(self, *frames, raw=b"", cycles=1_000):
        """Send frames and then bytes; return all frames that come in so many cycles."""
        self._transport.write(b"".join(frame.encode() for frame in frames) + raw)
        end = self._transport.cycles + cycles
        found = []
        while self._transport.cycles < end:
            found += self._parser.feed(self._transport.step(end - self._transport.cycles))
        return found


def data(seq, payload=b"x", *, ack=0, credit=HOST_ROOM):
    return Frame(Kind.DATA, seq, ack, credit, payload)


def of(frames, kind):
    return [frame for frame in frames if frame.kind == kind]


def payload_of(frames):
    return b"".join(frame.payload for frame in of(frames, Kind.DATA))


# Through the host's own end of the link.


def exchange(transport, content, *, clock, piece=3_000):
    """Echo `content` through the host's link; return what came back."""
    options = LinkOptions(retry_seconds=2e-4, ack_seconds=2e-6)
    host = LinkStream(transport, options, dead_seconds=1.0, clock=clock)
    host.reset()
    back = b""
    for start in range(0, len(content), piece):
        part = content[start:start + piece]
        host.write(part)
        back += host.read(len(part))
    return back, host.endpoint


@pytest.mark.parametrize("stall", [0, 30, 80])
@pytest.mark.parametrize("select", [FAST, SLOW])
def test_bytes_come_back_in_order(port, select, stall, seed):
    transport = port(select, stall=stall)
    content = random.Random(seed).randbytes(20_000).replace(b"\xee", b"\xed")
    back, endpoint = exchange(transport, content, clock=transport.clock)
    assert back == content
    assert endpoint.statistics.bad == 0
    assert endpoint.statistics.resent == 0


@pytest.mark.parametrize("faults", [
    Faults(flip=1e-3), Faults(drop=1e-3), Faults(duplicate=1e-3), Faults(cut=3e-4),
    Faults(drop=3e-4, flip=3e-4, duplicate=3e-4, cut=1e-4, delay=1e-4),
], ids=["flip", "drop", "duplicate", "cut", "all"])
@pytest.mark.parametrize("select", [FAST, SLOW])
def test_faults_lose_nothing(port, select, faults, seed):
    inner = port(select)
    content = random.Random(seed).randbytes(20_000).replace(b"\xee", b"\xed")
    wire = FaultyTransport(inner, faults, seed=seed)
    back, endpoint = exchange(wire, content, clock=inner.clock)
    assert back == content
    assert endpoint.statistics.bad + endpoint.statistics.out_of_order > 0


def test_every_reset_starts_anew(port, seed):
    rng = random.Random(seed)
    transport = port(SLOW)
    host = connect(transport)
    for _ in range(30):
        host.reset()
        word = rng.randbytes(20).replace(b"\xee", b"\xed")
        host.write(word)
        assert host.read(20) == word
        host.write(bytes(rng.randrange(1, 9_000)))      # some of it is under way at the reset
        host.flush()
        transport.idle(rng.randrange(1, 20_000))


def connect(transport):
    host = LinkStream(transport, LinkOptions(retry_seconds=2e-4), dead_seconds=1.0,
                      clock=transport.clock)
    host.reset()
    return host


def test_throughput_to_the_device(port):
    transport = port(DEAF)
    host = connect(transport)
    size = 240 * MAX_PAYLOAD
    start = transport.cycles
    host.write(random.Random(1).randbytes(size).replace(b"\xee", b"\xed"))
    while not host.endpoint.idle:
        host.poll()
    assert size > 0.92 * (transport.cycles - start)
    assert host.endpoint.statistics.good < 120          # half an acknowledgement per frame


def test_throughput_to_the_host(port):
    transport = port(MANIFOLD)
    host = connect(transport)
    word = random.Random(1).randbytes(500).replace(b"\xee", b"\xed")
    start = transport.cycles
    host.write(word)
    assert host.read(50_000) == bytes(byte for byte in word for _ in range(100))
    assert 50_000 > 0.92 * (transport.cycles - start)


# Frame by frame.


def test_reset_is_acknowledged_with_its_nonce(port):
    transport = port()
    transport.write(Frame(Kind.RESET, 99, 0, HOST_ROOM).encode())
    frame, = Parser().feed(transport.step(200))
    assert frame == Frame(Kind.RESET_ACK, 99, 0, DEVICE_ROOM)


def test_nothing_is_said_unasked(port):
    assert port().step(20_000) == b""


def test_one_acknowledgement_for_several_frames(port):
    wire = Wire(port(SLOW))
    answers = wire.heard(*(data(n, b"\xee" if n == 0 else b"x") for n in range(7)),
                         cycles=ACK_CYCLES // 2)
    assert of(answers, Kind.ACK) == []                  # one may still ride on data
    answers = wire.heard(cycles=2 * ACK_CYCLES)
    assert [frame.ack for frame in answers] == [7]


def test_credit_shrinks_and_grows_with_the_room(port):
    wire = Wire(port())
    wire.heard(data(0, b"\xee"))
    block = bytes(MAX_PAYLOAD)
    answers = wire.heard(*(data(n, block, ack=1) for n in range(1, 9)),
                         cycles=8 * FRAME_CYCLES + 2 * ACK_CYCLES)
    assert answers[-1].ack == 9
    assert answers[-1].credit == 0
    answers = wire.heard(data(9, block, ack=1), cycles=2 * ACK_CYCLES)  # dropped, and said so
    assert [(frame.ack, frame.credit) for frame in answers] == [(9, 0)]


def test_room_that_becomes_free_is_told(port):
    wire = Wire(port(DRAIN))
    block = bytes(MAX_PAYLOAD)
    answers = wire.heard(*(data(n, block) for n in range(8)), cycles=8 * FRAME_CYCLES)
    answers += wire.heard(cycles=8 * MAX_PAYLOAD * 25)
    limits = [(frame.ack + frame.credit) & 255 for frame in answers]
    assert limits == sorted(limits)
    assert limits[-1] == 16
    assert len(of(answers, Kind.ACK)) < 8


def test_damage_is_complained_of_once(port):
    wire = Wire(port())
    bad = bytearray(data(0, b"abc").encode())
    bad[8] ^= 1
    answers = wire.heard(raw=bytes(bad) * 3)
    assert [frame.kind for frame in answers] == [Kind.NAK]
    assert answers[0].ack == 0
    answers = wire.heard(data(0, b"abc"), cycles=1_000)
    assert payload_of(answers) == b"abc"
    answers = wire.heard(raw=bytes(bad))
    assert of(answers, Kind.NAK)[0].ack == 1


def test_complaints_are_repeated_after_a_time(port):
    wire = Wire(port())
    assert len(of(wire.heard(data(1)), Kind.NAK)) == 1
    assert len(of(wire.heard(data(2), cycles=RETRY_CYCLES), Kind.NAK)) == 0
    assert len(of(wire.heard(data(1)), Kind.NAK)) == 1


@pytest.mark.parametrize("header", [
    bytes([5, 0, 0, 64, 0, 0]), bytes([255, 0, 0, 64, 0, 0]),        # unknown kinds
    bytes([0, 0, 0, 64, 0, 0]), bytes([0, 0, 0, 64, 1, 2]), bytes([0, 0, 0, 64, 255, 255]),
    bytes([1, 0, 0, 64, 1, 0]), bytes([3, 0, 0, 64, 0, 1]),          # lengths out of range
])
def test_impossible_headers_do_not_hide_what_follows(port, header):
    wire = Wire(port())
    answers = wire.heard(raw=b"\xa5" + header + data(0, b"after").encode())
    assert len(of(answers, Kind.NAK)) == 1
    assert payload_of(answers) == b"after"


def test_noise_between_frames_is_ignored(port):
    wire = Wire(port())
    noise = bytes(set(range(256)) - {0xA5})
    answers = wire.heard(raw=noise + data(0, b"here").encode() + noise)
    assert payload_of(answers) == b"here"
    assert of(answers, Kind.NAK) == []


def test_a_half_frame_is_given_up(port):
    wire = Wire(port())
    for seq, length in enumerate((3, 40, 518, 521)):     # the last in the CRC
        half = data(seq, bytes(MAX_PAYLOAD)).encode()[:length]
        answers = wire.heard(raw=half, cycles=RETRY_CYCLES + 2 * FRAME_CYCLES)
        assert [frame.kind for frame in answers if frame.kind != Kind.DATA] == [Kind.NAK]
        answers = wire.heard(data(seq, b"whole", ack=seq))
        assert payload_of(answers) == b"whole"


def test_duplicates_are_acknowledged_and_dropped(port):
    wire = Wire(port())
    assert payload_of(wire.heard(data(0, b"once"))) == b"once"
    answers = wire.heard(data(0, b"once", ack=1), data(255, b"x", ack=1), cycles=2 * ACK_CYCLES)
    assert [(frame.kind, frame.ack) for frame in answers] == [(Kind.ACK, 1)]


def test_unacknowledged_frames_come_again(port):
    wire = Wire(port())
    first = wire.heard(data(0, b"abc"))
    again = wire.heard(cycles=RETRY_CYCLES + 200)
    assert of(first, Kind.DATA)[0].payload == b"abc"
    assert of(again, Kind.DATA)[0] == of(first, Kind.DATA)[0]
    wire.heard(Frame(Kind.ACK, 0, 1, HOST_ROOM))
    assert of(wire.heard(cycles=3 * RETRY_CYCLES), Kind.DATA) == []


def test_nak_goes_back(port):
    wire = Wire(port())
    content = random.Random(1).randbytes(4 * MAX_PAYLOAD).replace(b"\xee", b"\xed")
    pieces = [content[n:n + MAX_PAYLOAD] for n in range(0, len(content), MAX_PAYLOAD)]
    first = wire.heard(*itertools.starmap(data, enumerate(pieces)), cycles=6 * FRAME_CYCLES)
    assert payload_of(first) == content
    assert len(of(first, Kind.DATA)) == DEVICE_WINDOW
    again = wire.heard(Frame(Kind.NAK, 0, 2, HOST_ROOM), cycles=3 * FRAME_CYCLES)
    assert [frame.seq for frame in of(again, Kind.DATA)] == [2, 3]
    assert payload_of(again) == content[2 * MAX_PAYLOAD:]


def test_no_more_than_the_credit_is_sent_but_for_probes(port):
    wire = Wire(port(), credit=1)
    block = bytes(2 * MAX_PAYLOAD)
    first = wire.heard(data(0, block[:MAX_PAYLOAD], credit=1),
                       data(1, block[:MAX_PAYLOAD], credit=1), cycles=4 * FRAME_CYCLES)
    assert [frame.seq for frame in of(first, Kind.DATA)] == [0]
    then = wire.heard(Frame(Kind.ACK, 0, 1, 0), cycles=RETRY_CYCLES)
    assert of(then, Kind.DATA) == []
    probe = wire.heard(cycles=2 * FRAME_CYCLES)
    assert [frame.seq for frame in of(probe, Kind.DATA)] == [1]
    more = wire.heard(Frame(Kind.ACK, 0, 1, 1), cycles=2 * FRAME_CYCLES)
    assert of(more, Kind.DATA) == []                    # that one is under way already


# Counters.


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tally(seed):
    """Each event counts once, also one that comes with others, or while counters are read."""
    dut, rng = Tally(kinds=4), random.Random(seed)
    counts, latest = [0] * 4, [-12] * 4

    async def bench(ctx):
        async def read(kind):
            ctx.set(dut.read.addr, kind)
            ctx.set(dut.read.en, 1)
            await ctx.tick()
            ctx.set(dut.read.en, 0)
            return ctx.get(dut.read.data)

        for cycle in range(2_000):
            events = [cycle - last >= 12 and rng.random() < 0.2 for last in latest]
            ctx.set(dut.events, sum(1 << kind for kind, comes in enumerate(events) if comes))
            kind = rng.randrange(4)
            if rng.random() < 0.2:
                assert counts[kind] - await read(kind) in (0, 1)
            else:
                await ctx.tick()
            for kind, comes in enumerate(events):
                if comes:
                    counts[kind] += 1
                    latest[kind] = cycle
        ctx.set(dut.events, 0)
        for _ in range(9):
            await ctx.tick()
        assert [await read(kind) for kind in range(4)] == counts

    run(dut, bench)
