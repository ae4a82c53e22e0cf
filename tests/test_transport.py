"""Transports: TCP, serial ports, faults, recordings, and their names."""

import contextlib
import errno
import importlib.metadata
import json
import os
import pty
import select
import socket
import sys
import threading
import tty
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.errors import BadInput, DeviceBusy, DeviceError, MissingTool
from tritstream.transport import (
    Address,
    Faults,
    FaultyTransport,
    RecordingTransport,
    ReplayTransport,
    SerialTransport,
    TcpTransport,
    Transport,
    open_transport,
)
from tritstream.transport.registry import GROUP
from tritstream_sim.twin.emulator import Emulator
from tritstream_sim.twin.fake import FakeImage, FakeModel

repeatable = settings(deadline=None, derandomize=True)

CONFIG = BuildConfig(memory_bytes=1 << 16, max_hidden=64, max_intermediate=128, max_state=128,
                     max_vocab=64)


@pytest.fixture
def pair():
    """Two TCP transports that are connected with each other."""
    ends = [TcpTransport(end, f"tcp:{name}:1")
            for end, name in zip(socket.socketpair(), ("near", "far"), strict=True)]
    yield ends
    for end in ends:
        end.close()


def read_all(transport, count):
    data = b""
    while len(data) < count:
        piece = transport.read(5.0)
        assert piece, "nothing came for 5 s"
        data += piece
    return data


def test_tcp_carries_bytes(pair):
    near, far = pair
    near.write(b"hello")
    far.write(b"good day")
    assert (read_all(far, 5), read_all(near, 8)) == (b"hello", b"good day")
    assert near.read(0) == near.read(0.01) == b""


def test_tcp_end_that_closed(pair):
    near, far = pair
    far.write(b"x")
    assert near.read(5.0) == b"x"
    far.close()
    with pytest.raises(DeviceError, match="tcp:near:1 went away .it closed the connection."):
        near.read(1.0)
    with pytest.raises(DeviceError, match="went away"):
        near.write(b"hello")
    near.close()
    with pytest.raises(DeviceError, match="went away"):
        near.read(1.0)


def test_tcp_end_that_closes_without_a_byte(pair):
    near, far = pair
    far.close()
    with pytest.raises(DeviceBusy, match="tcp:near:1 is busy with another host, .* without a byte"):
        near.read(1.0)


def test_tcp_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeviceError, match=f"No device answers at tcp:127.0.0.1:{port} .*refused"):
        open_transport(f"tcp:127.0.0.1:{port}")


def test_tcp_by_name():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with open_transport(f"tcp:localhost:{port}") as transport:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"x")
                assert transport.read(5.0) == b"x"


@pytest.mark.parametrize("uri, sentence", [
    ("tcp", "write tcp:HOST:PORT"),
    ("tcp:", "write tcp:HOST:PORT"),
    ("tcp::7000", "write tcp:HOST:PORT"),
    ("tcp:localhost", "write tcp:HOST:PORT"),
    ("tcp:localhost:", "write tcp:HOST:PORT"),
    ("tcp:localhost:http", "write tcp:HOST:PORT"),
    ("tcp:localhost:0", "write tcp:HOST:PORT"),
    ("tcp:localhost:65536", "write tcp:HOST:PORT"),
    ("tcp:localhost:" + "9" * 5000, "write tcp:HOST:PORT"),
    ("tcp:localhost:\u0663", "write tcp:HOST:PORT"),
    ("tcp:a..b:1", "write tcp:HOST:PORT"),
    ("tcp:" + "a" * 64 + ".org:1", "write tcp:HOST:PORT"),
    ("tcp:a\0b:1", "write tcp:HOST:PORT"),
    ("tcp:\udc80:1", "write tcp:HOST:PORT"),
    ("tcp:::1:1", "write tcp:HOST:PORT"),
    ("tcp:[:1", "write tcp:HOST:PORT"),
    ("tcp:[localhost]:1", "write tcp:HOST:PORT"),
    ("tcp:localhost:1?baud=9600", "unknown option 'baud': the closest is build, and tcp has build"),
    ("serial", "write serial:PORT"),
    ("serial:", "write serial:PORT"),
    ("serial:?baud=9600", "write serial:PORT"),
    ("serial:/dev/null?baud=fast", "baud=fast: it must be a whole number of 300 to 100000000"),
    ("serial:/dev/null?baud=0", "baud=0: it must be"),
    ("serial:/dev/null?baud=-9600", "baud=-9600: it must be"),
    ("serial:/dev/null?baud=" + "3" * 20, "baud=3{20}: it must be"),
    ("serial:/dev/null?baud=" + "3" * 5000, "baud=3{20}: it must be"),
    ("serial:/dev/null?baud=9600&baud=9600", "the option 'baud' twice"),
    ("serial:/dev/null?baud", "the option 'baud': write KEY=VALUE"),
    ("serial:/dev/null?baud=", "the option 'baud=': write KEY=VALUE"),
    ("serial:/dev/null?=9600", "the option '=9600': write KEY=VALUE"),
    ("serial:/dev/null?", "the option '': write KEY=VALUE"),
    ("serial:/dev/null?baud=9600&", "the option '': write KEY=VALUE"),
    ("serial:/dev/null?speed=9", "unknown option 'speed': .*, and serial has baud, build"),
    ("replay:", "write replay:FILE"),
    ("replay:x?baud=1", "unknown option 'baud'"),
    ("replay:missing.txt", "missing.txt cannot be read"),
    ("usb:1", "'usb:1' is not a device"),
    (":1", "':1' is not a device"),
    ("", "'' is not a device"),
    ("x" * 5000, "'x{200}' is not a device"),
])
def test_names_that_mean_nothing(uri, sentence):
    with pytest.raises(BadInput, match=sentence) as caught:
        open_transport(uri)
    assert caught.value.exit_code == 2


@repeatable
@given(st.one_of(st.text(), st.tuples(
    st.sampled_from(["tcp", "serial", "replay", "sim", ""]), st.sampled_from([":", "", "::"]),
    st.text(st.characters(codec=None)), st.sampled_from(["", "?", "&", "?baud=", "?build="]),
    st.text()).map("".join)))
def test_any_text_is_an_address_or_a_sentence(text):
    with contextlib.suppress(BadInput):
        address = Address.parse(text)
        address.number("baud", 1, 1, 9)
        address.check_options("baud")


def test_parts_of_an_address():
    address = Address.parse("serial:/dev/a:b?baud=9600&build=a%26b+c=d")
    assert (address.scheme, address.rest) == ("serial", "/dev/a:b")
    assert address.options == {"baud": "9600", "build": "a&b+c=d"}
    assert (Address.parse("sim").rest, Address.parse("sim:").rest) == (None, "")


def test_the_build_that_is_asked_for(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"build_id": "0123456789abcdef"}))
    assert Address.parse(f"tcp:x:1?build={tmp_path}").build.hex() == "0123456789abcdef"
    assert Address.parse("tcp:x:1").build is None
    with pytest.raises(BadInput, match="no manifest at absent/manifest.json"):
        Device.open("tcp:x:1?build=absent")


def test_tcp_host_that_is_unknown(monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeviceError, match="there is no host 'nowhere' .Name or service not known"):
        open_transport("tcp:nowhere:7000")


def test_tcp_by_the_number_of_ipv6():
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:                         # this machine has none: a refusal says so
        with pytest.raises(DeviceError, match="No device answers at tcp:.::1.:7000"):
            open_transport("tcp:[::1]:7000")
        return
    with listener:
        open_transport(f"tcp:[::1]:{listener.getsockname()[1]}").close()


def test_simulated_board_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tritstream_sim.board", None)
    with pytest.raises(MissingTool, match=r"pip install 'tritstream\[sim\]'"):
        open_transport("sim")


def test_a_transport_of_another_package(monkeypatch, pair):
    asked = []
    module = types.ModuleType("another_package")
    module.open_usb = lambda *given: asked.append(given) or pair[0]
    monkeypatch.setitem(sys.modules, "another_package", module)
    entry_point = importlib.metadata.EntryPoint("usb", "another_package:open_usb", GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points",
                        lambda group: [entry_point] * (group == GROUP))
    assert open_transport("usb:1", "image") is pair[0]
    assert asked == [(Address.parse("usb:1"), "image")]


def test_the_simulated_board_joins_by_entry_point():
    (entry_point,) = importlib.metadata.entry_points(group=GROUP, name="sim")
    assert entry_point.value == "tritstream_sim.board:launch"


class Terminal(Transport):
    """The far end of a serial port: the master of a pseudo-terminal."""

    name = "terminal"

    def __init__(self):
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)

    def read(self, timeout):
        ready, _, _ = select.select([self._master], [], [], timeout)
        try:
            return os.read(self._master, 1 << 16) if ready else b""
        except OSError as error:
            raise DeviceError("unplugged") from error

    def write(self, data):
        os.write(self._master, data)

    def release(self):
        """Let the master see when the port is closed."""
        os.close(self._slave)

    def close(self):
        os.close(self._master)


def test_serial_carries_all_bytes():
    terminal = Terminal()
    with SerialTransport(terminal.port) as serial:
        assert serial.read(0) == b""
        serial.write(bytes(range(256)))
        assert read_all(terminal, 256) == bytes(range(256))
        terminal.write(bytes(range(256)))
        assert read_all(serial, 256) == bytes(range(256))
        terminal.release()
        terminal.close()
        with pytest.raises(DeviceError, match=f"serial:{terminal.port} went away"):
            serial.read(5.0)


def test_serial_waits_longer_at_a_slow_rate():
    terminal = Terminal()
    with open_transport(f"serial:{terminal.port}?baud=115200") as serial:
        assert serial.rate == 11_520
        assert serial.retry_seconds == pytest.approx(0.1 + 2 * 8 * 512 / 11_520)
    terminal.release()
    terminal.close()


@pytest.mark.parametrize("number, sentence", [
    (errno.ENOENT, "nothing cannot be opened at 3000000 baud; there is none: plug the board in"),
    (errno.EACCES, "this user may not: run `sudo usermod -a -G dialout"),
    (errno.EBUSY, "another program uses it: end that one"),
    (errno.EAGAIN, "another program uses it"),
    (errno.EIO, "Input/output error: check that it is a serial port"),
])
def test_serial_port_that_cannot_be_opened(monkeypatch, number, sentence):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError, match=sentence):
        open_transport("serial:nothing")


def test_serial_port_that_is_in_use():
    terminal = Terminal()
    with SerialTransport(terminal.port):
        with pytest.raises(DeviceError, match="another program uses it"):
            SerialTransport(terminal.port)
    terminal.release()
    terminal.close()


def test_files_that_are_no_serial_ports(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path in (tmp_path / "pipe", tmp_path / "file", tmp_path, "/dev/null", f"{tmp_path}/absent"):
        with pytest.raises(DeviceError, match="cannot be opened"):
            open_transport(f"serial:{path}")


def test_a_whole_session_over_a_serial_port():
    terminal = Terminal()
    image = FakeImage()
    emulator = Emulator(CONFIG, FakeModel(image, CONFIG))
    thread = threading.Thread(target=emulator.serve, args=(terminal,))
    thread.start()
    with Device.open(f"serial:{terminal.port}") as device:
        terminal.release()
        assert device.load(image) == len(image.payload)
        tokens = [result.token for result in device.run([1, 2, 3], 4)]
        assert tokens[:3] == [1, 2, 3]
        assert len(tokens) == 6
    thread.join()


@pytest.mark.parametrize("build", [CONFIG.digest(), bytes(8)], ids=["the same", "another"])
def test_a_serial_port_with_a_build(tmp_path, build):
    (tmp_path / "manifest.json").write_text(json.dumps({"build_id": build.hex()}))
    terminal = Terminal()
    emulator = Emulator(CONFIG, FakeModel(FakeImage(), CONFIG))
    thread = threading.Thread(target=emulator.serve, args=(terminal,))
    thread.start()
    same = build == CONFIG.digest()
    refusal = pytest.raises(DeviceError, match=f"{CONFIG.digest().hex()}, not {'00' * 8}: load")
    with contextlib.nullcontext() if same else refusal as caught:
        Device.open(f"serial:{terminal.port}?build={tmp_path}").close()
    assert same or caught.value.exit_code == 4
    terminal.release()
    thread.join()


def test_faults_repeat_with_their_seed(pair):
    near, _ = pair
    faults = Faults(drop=0.05, flip=0.05, duplicate=0.05, cut=0.001, delay=0.001)

    def heard(seed):
        pieces = []
        inner = types.SimpleNamespace(name="x", retry_seconds=1.0, rate=None, write=pieces.append)
        faulty = FaultyTransport(inner, faults, seed=seed)
        for _ in range(20):
            faulty.write(bytes(100))
        return b"".join(pieces)

    assert heard(1) == heard(1) != heard(2)


def test_a_device_that_disappears(pair):
    near, far = pair
    faulty = FaultyTransport(near, Faults(), seed=1, gone_after=3)
    far.write(b"hello")
    assert faulty.read(5.0) == b"hel"
    with pytest.raises(DeviceError, match="went away"):
        faulty.read(5.0)
    with pytest.raises(DeviceError, match="went away"):
        faulty.write(b"x")


@pytest.fixture
def session(pair, tmp_path):
    """A recording of: nonce, "ab" and "cd" to the device, "ef" from it, "gh" to it."""
    near, far = pair
    path = tmp_path / "session.txt"
    recording = RecordingTransport(near, path)
    nonce = recording.nonce()
    recording.write(b"ab")
    recording.write(b"cd")
    far.write(b"ef")
    assert recording.read(5.0) == b"ef"
    assert recording.read(0) == b""
    recording.write(b"gh")
    recording.close()
    return path, nonce


def test_a_session_repeats(session):
    path, nonce = session
    replay = ReplayTransport(path)
    assert replay.nonce() == nonce
    assert replay.read(0) == b""            # not before what was written then
    replay.write(b"a")
    replay.write(b"bcd")
    assert replay.read(0) == b"ef"
    assert not replay.finished
    replay.write(b"gh")
    assert replay.finished
    assert replay.read(0) == b""


def test_a_session_that_does_not_repeat(session):
    path, _ = session
    with pytest.raises(DeviceError, match="differs behind byte 0"):
        ReplayTransport(path).write(b"ab")      # the nonce was first
    replay = ReplayTransport(path)
    replay.nonce()
    with pytest.raises(DeviceError, match="starts anew behind byte 0"):
        replay.nonce()
    replay.write(b"abc")
    with pytest.raises(DeviceError, match="differs behind byte 3"):
        replay.write(b"x")


@pytest.mark.parametrize("text, sentence", [
    ("", "is not a recorded session"),
    ("hello\n", "is not a recorded session"),
    ("tritstream-session 1\nr 0g\n", "damaged in line 2"),
    ("tritstream-session 1\nr 00\nx 00\n", "damaged in line 3"),
    ("tritstream-session 1\nn many\n", "damaged in line 2"),
    ("tritstream-session 1\nn 256\n", "damaged in line 2"),
    ("tritstream-session 1\nn " + "9" * 5000, "damaged in line 2"),
])
def test_files_that_are_no_sessions(tmp_path, text, sentence):
    path = tmp_path / "session.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence):
        ReplayTransport(path)


def test_sessions_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(BadInput, match="give the file itself"):
            open_transport(f"replay:{path}")


@pytest.mark.parametrize("place", ["absent/session.txt", "."])
def test_sessions_that_cannot_be_recorded(pair, tmp_path, place):
    near, far = pair
    with pytest.raises(BadInput, match="cannot be recorded in .*: give a file"):
        RecordingTransport(near, tmp_path / place)
    with pytest.raises(DeviceError, match="closed the connection"):
        far.read(1.0)


def test_a_disk_that_fills_up_while_a_session_is_recorded(pair):
    recording = RecordingTransport(pair[0], "/dev/full")
    with pytest.raises(BadInput, match="No space left on device"):
        for _ in range(1000):
            recording.write(bytes(100))
    with contextlib.suppress(BadInput):         # there may be something left to write
        recording.close()


def test_time_of_a_replay_passes_only_in_vain_reads(session):
    path, _ = session
    replay = ReplayTransport(path)
    replay.nonce()
    assert replay.now() == 0
    replay.read(2.0)                        # nothing comes before "abcd" is written
    assert replay.now() == pytest.approx(2.0, abs=1e-3)
    replay.write(b"abcd")
    before = replay.now()
    assert replay.read(2.0) == b"ef"
    assert replay.now() == before
