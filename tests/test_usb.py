"""The USB ports: LUNA's device between a host, at the pads or behind a ULPI PHY, and the link."""

import contextlib
import functools
import importlib.metadata
import pathlib
import random
import re

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import wiring

from tritstream.errors import MissingTool
from tritstream.link.endpoint import LinkOptions
from tritstream.link.stream import LinkStream
from tritstream_hw.phy.usb.packets import SILENT_CYCLES, PacketEnds
from tritstream_hw.phy.usb.serial import UsbSerial
from tritstream_sim.agents.contract import held_until_taken, prove
from tritstream_sim.agents.pysim import collect, run, stalls
from tritstream_sim.agents.usb import Fault, Pid, UsbHost, UsbTransport
from tritstream_sim.agents.usb_line import Line, State
from tritstream_sim.verilate.usb import build_usb

FAULTS = [Fault.DAMAGED_TOKEN, Fault.DAMAGED_DATA, Fault.LOST_ACK]
SIZES = {"full": 6_000, "high": 40_000}

CACHE = pathlib.Path(__file__).parents[1] / "build/sim"

both = pytest.mark.parametrize("speed", ["full", "high"])


@functools.cache
def executable():
    return build_usb(CACHE)


@contextlib.contextmanager
def device(speed, seed, fault=None, *, linked=False):
    """Yield the line to a device that is a serial port by now, and its host."""
    with contextlib.closing(Line(executable(), speed, seed, linked=linked)) as line:
        if speed == "high":
            line.hold(State.J, 80_000)      # LUNA waits for the PHY that long
        host = UsbHost(line, speed, fault)
        host.reset()
        host.descriptors = host.configure()
        yield line, host


def drawn(seed, share):
    """Return what says in which share of transactions something befalls them."""
    rng = random.Random(seed)
    return lambda: rng.choice(FAULTS) if rng.random() < share else Fault.NONE


def rest(line, host):
    """Let what is on its way come out."""
    line.stall(0)
    host.rest(1_000)


def exchange(line, host, there, back, rng):
    """Send bytes both ways, in packets of all sizes, and return what comes at both ends."""
    line.feed(back)
    come, got, left = b"", b"", there
    idle = 0
    while left or len(got) < len(back):
        part = left[:rng.choice([host.packet_bytes, rng.randrange(host.packet_bytes)])]
        if host.offer(part):
            left = left[len(part):]
        packet = host.read()
        got += packet or b""
        idle = 0 if packet or left else idle + 1
        assert idle < 1_000, f"{len(got)} of {len(back)} bytes have come to the host"
        come += line.drain()
    rest(line, host)
    assert not host.read(), "a packet has come that nobody has sent"
    return come + line.drain(), got


@pytest.mark.verilator
@both
def test_it_is_a_serial_port(speed, seed):
    with device(speed, seed) as (_, host):
        descriptor, configuration = host.descriptors
        assert descriptor[8:12].hex() == "09120100"             # 1209:0001, of pid.codes for tests
        assert host.string(descriptor[14]) == "tritstream"
        assert host.string(descriptor[15]) == speed
        endpoints = [configuration[n + 2:n + 7] for n, size, kind in parts(configuration)
                     if kind == 5]
        packet = host.packet_bytes.to_bytes(2, "little")
        assert [bytes(part[:2]) + part[2:4] for part in endpoints[1:]] == [
            b"\x84\x02" + packet, b"\x04\x02" + packet]


def parts(configuration):
    """Yield where each descriptor begins, its size and its kind."""
    n = 0
    while n < len(configuration):
        yield n, configuration[n], configuration[n + 1]
        n += configuration[n]


@pytest.mark.verilator
@both
@pytest.mark.parametrize("stall, share", [(0, 0), (60, 0), (0, 0.3), (95, 0.2)])
def test_bytes_are_the_same_at_both_ends(speed, stall, share, seed):
    """Whatever is damaged or lost on the bus, and however long the device pauses."""
    rng = random.Random(f"{seed} {stall} {share}")
    there, back = (rng.randbytes(SIZES[speed] // (8 if stall == 95 else 2)) for _ in range(2))
    with device(speed, seed, drawn(seed, share)) as (line, host):
        line.stall(stall)
        assert exchange(line, host, there, back, rng) == (there, back)
        if share:
            assert all(host.seen[fault] for fault in FAULTS) and host.seen["repeated"]
        # Host and device count the bits between them from where their own ends are.
        assert max(host.turnarounds) <= (16 if speed == "full" else 24)


@pytest.mark.verilator
@both
def test_the_device_says_nak_until_there_is_room(speed, seed):
    data = random.Random(seed).randbytes(4 * 512)
    with device(speed, seed) as (line, host):
        line.stall(100)
        left = data
        while left and host.offer(left[:host.packet_bytes]):
            left = left[host.packet_bytes:]
        assert left and not any(host.offer(left[:host.packet_bytes]) for _ in range(10))
        assert host.seen[Pid.NAK]
        line.stall(0)
        host.write(left)
        rest(line, host)
        assert line.drain() == data


@pytest.mark.verilator
@both
@pytest.mark.parametrize("odd", [0, 1])
def test_a_reset_in_mid_stream_begins_everything_anew(speed, odd, seed):
    """What is on its way is lost, and no byte of what is sent behind it."""
    rng = random.Random(seed)
    with device(speed, seed) as (line, host):
        for number in (1, 2):
            line.stall(90)
            line.feed(rng.randbytes(300))
            for _ in range(2 * number + odd):
                host.offer(rng.randbytes(host.packet_bytes))
                host.read()
            if number == 2:             # in a control transfer
                host._setup(0x80, 6, 0x0200, 0, 64)
            host.reset()
            rest(line, host)            # what the device had still to say goes nowhere
            line.drain()
            host.configure()
            there, back = (rng.randbytes(700) for _ in range(2))
            assert exchange(line, host, there, back, rng) == (there, back)


class Pulled(UsbTransport):
    """A port whose cable is pulled, and plugged in again, behind every so many packets."""

    def __init__(self, line, host, *, every):
        super().__init__(line, host)
        self._every, self._number = every, 0

    def read(self, timeout):
        self._number += 1
        if self._number % self._every == 0:
            self._host.reset()
            self._host.configure()
        return super().read(timeout)


@pytest.mark.verilator
@pytest.mark.parametrize("speed, every", [("full", 25), ("high", 23)])
def test_a_link_mends_what_a_reset_of_the_bus_loses(speed, every, seed):
    content = random.Random(seed).randbytes(SIZES[speed] // 2)
    with device(speed, seed, linked=True) as (line, host):
        transport = Pulled(line, host, every=every)
        options = LinkOptions(retry_seconds=3e-3, ack_seconds=5e-5)
        stream = LinkStream(transport, options, dead_seconds=1.0, clock=transport.clock)
        stream.reset()
        stream.write(content)
        assert stream.read(len(content)) == content
        counts = stream.endpoint.statistics
        assert counts.resent + counts.bad + counts.out_of_order


@pytest.mark.verilator
@pytest.mark.parametrize("speed, least", [("full", 1.2e6), ("high", 40e6)])
def test_rates(speed, least, seed):
    """The bus has room for 1.22 MB/s of bulk packets at full speed, and for 53 MB/s at high."""
    data = random.Random(seed).randbytes(2 * SIZES[speed])
    with device(speed, seed) as (line, host):
        began = line.bits
        host.write(data)
        assert len(data) * host.clock_hz / (line.bits - began) > least
        rest(line, host)
        assert line.drain() == data and not host.seen[Pid.NAK]
        line.feed(data)
        rest(line, host)
        began, got = line.bits, b""
        while len(got) < len(data):
            got += host.read()
        assert got == data
        assert len(data) * host.clock_hz / (line.bits - began) > least


@pytest.mark.verilator
def test_the_design_is_the_same_in_each_process():
    """LUNA calls parts by where they are in memory, if two are of one class."""
    assert not re.search(r"_\d{6,}", executable().with_suffix(".v").read_text())


@pytest.mark.parametrize("pause", [0, 0.6])
def test_packets_end_where_nothing_follows_for_a_while(pause, seed):
    rng = random.Random(seed)
    bursts = [rng.randbytes(rng.randrange(1, 9)) for _ in range(12)]
    dut = PacketEnds()

    async def source(ctx):
        for burst in bursts:
            for n, byte in enumerate(burst):
                for _ in range(rng.choice([0, 0, SILENT_CYCLES - 2]) if n else 60):
                    await ctx.tick()
                ctx.set(dut.i.payload, byte)
                ctx.set(dut.i.valid, 1)
                taken = False
                while not taken:
                    _, _, taken = await ctx.tick().sample(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    got = []

    async def sink(ctx):
        got.extend(await collect(ctx, dut.o, sum(map(len, bursts)), stalls(seed, pause)))

    run(dut, source, sink)
    assert [payload.byte for payload in got] == list(b"".join(bursts))
    # A byte may wait for the sink while others come, but where a burst ends its packet does.
    ends = [n for n, payload in enumerate(got, 1) if payload.last]
    assert ends == [sum(map(len, bursts[:n + 1])) for n in range(len(bursts))]


class EndsContract(wiring.Component):
    """`PacketEnds` between a source whose offers stand, and a sink that does what it likes."""

    def __init__(self):
        self._dut = PacketEnds()
        super().__init__(self._dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self._dut
        wiring.connect(m, wiring.flipped(self.i), self._dut.i)
        wiring.connect(m, self._dut.o, wiring.flipped(self.o))
        held_until_taken(m, self.i, Assume)
        held_until_taken(m, self.o, Assert)
        return m


def test_bytes_of_packets_stand(tmp_path):
    prove(EndsContract(), tmp_path)


def test_what_is_not_installed_is_told(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingTool, match=r"LUNA.*not installed; run `.*luna-usb==[\d.]+'`"):
        Fragment.get(UsbSerial(None, product="", packet_bytes=64), None)
