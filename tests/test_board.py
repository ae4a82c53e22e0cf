"""The simulated board behind the real driver, against the golden model."""

import contextlib
import dataclasses
import errno
import importlib.metadata
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tritstream.build import BuildConfig
from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.driver import Device
from tritstream.engines.base import Work
from tritstream.engines.golden import GoldenEngine
from tritstream.engines.lanes import LanesEngine
from tritstream.errors import BadInput, DeviceBusy, DeviceError, MissingTool
from tritstream.formats import UNIT
from tritstream.golden import GoldenModel, candidates, chain
from tritstream.image.needs import Needs
from tritstream.image.pack import pack
from tritstream.link.protocol import RunFlag, Space
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.transport import Faults, FaultyTransport, open_transport
from tritstream_sim.board import Board, board_config, build, config_for, launch
from tritstream_sim.board.__main__ import main
from tritstream_sim.board.configs import BOARDS
from tritstream_sim.board.launch import _BoardTransport, _key
from tritstream_sim.board.process import read_note

DEFAULT = board_config()
WITHOUT_MEMORY = BuildConfig(
    beat_bytes=4, vector_width=4, candidates=5, max_hidden=64, max_intermediate=128, max_vocab=256,
    max_state=128, max_stages=16, memory_bytes=0)
TOKENS = [3, 1, 4, 1, 5, 92, 65]


@pytest.fixture(scope="module")
def cache(request):
    return request.config.rootpath / "build" / "sim"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    shape = ModelConfig(hidden=64, intermediate=128, layers=2, vocab=130)
    return pack(DummyCheckpoint(shape, seed=7), tmp_path_factory.mktemp("model") / "tiny.trit")


class Golden:
    """What the device has to give, token by token."""

    def __init__(self, image):
        self._image = image
        self._model = GoldenModel(image)
        self._state = self._model.new_state()
        self._digest = 0

    def step(self, token, head=True):
        """Return all row sums of the head, None without it, and the digest after each stage."""
        digests = []

        def observe(_, vector):
            self._digest = chain(vector[0, 0], self._digest)
            digests.append(self._digest)

        stages = self._image.stages if head else self._image.body_stages
        logits = self._model.forward([[token]], self._state, stages=stages, observe=observe)
        return logits.acc[0] if head else None, digests

    @property
    def state(self):
        return self._state[0]


def golden_digest(image, tokens):
    golden = Golden(image)
    return [golden.step(token)[1][-1] for token in tokens][-1]


def stepwise(device, image, tokens):
    """Play `tokens` one by one with their heads; compare everything that a pass leaves behind."""
    golden = Golden(image)
    for position, token in enumerate(tokens):
        acc, digests = golden.step(token)
        play = device.play_of(token, candidates=True)
        if position == 0:
            play = dataclasses.replace(play, flags=play.flags | RunFlag.FRESH)
        (result,) = device.play([play])
        assert [record.digest for record in device.records()] == digests, f"token {position}"
        assert list(result.candidates) == candidates(acc, device.identity.candidates)
        assert result.digest == digests[-1]
    np.testing.assert_array_equal(device.save_state(), golden.state)


def digests_of(device, tokens):
    return [result.digest for result in device.run(tokens, heads=True, fresh=True)]


# What a board is, without building one.

def test_bundled_model_fits_the_default_board():
    assert config_for(Needs.of(resolve(DEFAULT_MODEL).image)) == DEFAULT
    assert DEFAULT.beat_bytes == 16


def test_larger_models_get_a_larger_board(image):
    large = Needs(max_hidden=1000, max_intermediate=2816, max_state=24_000, max_vocab=32_000,
                  max_stages=98, memory_bytes=8 << 20, row_bytes=1 << 10, token_bytes=6 << 20)
    config = config_for(large, "p64")
    assert (config.beat_bytes, config.max_hidden, config.max_intermediate) == (64, 1024, 2816)
    assert (config.max_state, config.max_vocab, config.max_stages) == (24_000, 32_000, 98)
    assert config.memory_bytes == 8 << 20
    assert config_for(Needs.of(image)) == DEFAULT


def test_unknown_board():
    with pytest.raises(BadInput, match="'p5'.*sim:p16.*; the closest is sim:p"):
        launch("sim:p5")
    with pytest.raises(BadInput, match="no simulated board ''"):
        launch("sim:")


@pytest.mark.parametrize("address, sentence", [
    ("sim:ulx3s_85f?sdr_rdc=46", "unknown option 'sdr_rdc': the closest is sdr_r"),
    ("sim:ulx3s_85f?sdr_rcd=fast", "sdr_rcd=fast: it must be a number of 0 to 1e"),
    ("sim:ulx3s_85f?baud=9", "baud=9: it must be a whole number"),
    ("sim:ulx3s_85f?sdr_image=/etc/passwd", "unknown option 'sdr_image'"),
    ("sim:ulx3s_85f?flash=absent", "absent cannot be read .*`tritstream program ulx3s_85f"),
    ("sim:ulx3s_85f?flash_image=/etc/passwd", "unknown option 'flash_image'"),
    ("sim:ulx3s_85f_bram?flash=absent", "unknown option 'flash'"),
    ("sim:ecpix5_85f_usb", "has a USB link, at whose pads nothing stands"),
    ("sim:ecpix5_85f?ddr3_image=/etc/passwd", "unknown option 'ddr3_image'"),
    ("sim:ecpix5_85f?ddr3_stuck=-1", "ddr3_stuck=-1: it must be a number of 0 to 1e"),
    ("sim:ulx3s_84f", "no simulated board 'ulx3s_84f'.* `tritstream boards`"),
])
def test_boards_up_to_their_pads_that_cannot_be(address, sentence):
    with pytest.raises(BadInput, match=sentence):
        launch(address)


def test_a_cache_that_cannot_be_used(tmp_path, monkeypatch):
    place = tmp_path / "file"
    place.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.raises(BadInput, match=f"^{place}/tritstream/boards cannot hold .*Not a directory.*"
                                       "XDG_CACHE_HOME"):
        launch("sim")


def test_a_simulator_without_its_extra(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingTool, match=r"needs amaranth.*pip install 'tritstream\[sim\]'"):
        launch("sim")


def test_a_program_that_may_not_run(tmp_path, monkeypatch):
    program = tmp_path / "board"
    program.touch(mode=0o600)
    monkeypatch.setattr("tritstream_sim.board.process.build", lambda config, cache: program)
    with pytest.raises(BadInput, match=f"{program} does not start .Permission denied"):
        launch("sim")


def test_elements_keep_pace_with_wide_beats():
    pairs = {name: (config.beat_bytes, config.vector_width)
             for name in BOARDS for config in [board_config(name)]}
    assert pairs == {"p1": (1, 1), "p2": (2, 2), "p4": (4, 4), "p8": (8, 8), "p16": (16, 8),
                     "p32": (32, 16), "p64": (64, 32), "p128": (128, 64), "p256": (256, 128)}


@pytest.mark.parametrize("options, sentence", [
    (["--bandwidth", "0"], "argument --bandwidth: it must be a number above 0 and up to 16384"),
    (["--bandwidth", "nan"], "--bandwidth: it must be"),
    (["--bandwidth", "fast"], "--bandwidth: it must be"),
    (["--bandwidth", "16385"], "--bandwidth: it must be"),
    (["--latency", "-1"], "--latency: it must be a whole number of 0 to 1000000000"),
    (["--latency", "9" * 5000], "--latency: it must be"),
    (["--refresh", "100"], "--refresh: it must be INTERVAL:CYCLES"),
    (["--refresh", "100:100"], "--refresh: it must be INTERVAL:CYCLES, and leave time to read"),
    (["--port", "65536"], "--port: it must be a whole number of 0 to 65535"),
    (["--keep", "0"], "--keep: it must be a whole number of 1 to 86400"),
    (["--board", "p5"], "--board: invalid choice: 'p5'"),
    (["--model", "absent"], "error: There is no model 'absent'"),
    (["--speed", "9"], "unrecognized arguments: --speed 9"),
])
def test_command_lines_that_cannot_be_used(capsys, options, sentence):
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("keep", ["0", "-1", "x", "86401", "1.5"])
def test_times_for_which_no_board_is_kept(keep):
    with pytest.raises(BadInput, match=f"keep={keep}: it must be a whole number of 1 to 86400"):
        launch(f"sim?keep={keep}")


@pytest.fixture
def boards(monkeypatch):
    """What would be started, of each call: the build, and the options of its memory."""
    started = []

    def start(config, *, cache, **options):
        started.append((config, options))
        raise DeviceError("no board is started")

    monkeypatch.setitem(launch.__globals__, "Board", start)
    return started


@pytest.mark.parametrize("address, parts, memory", [
    ("sim", {}, {}),
    ("sim:p16?v=8&e=1&prefetch=512", {}, {}),
    ("sim?v=16&e=4", {"vector_width": 16, "element_width": 4}, {}),
    ("sim?g=4", {"groups": 4, "vector_width": 16, "element_width": 2}, {}),
    ("sim?prefetch=0&latency=100", {"prefetch_beats": 0}, {"latency": 100}),
    ("sim?bandwidth=25.6&refresh=640:16", {}, {"bandwidth": 25.6, "refresh": (640, 16)}),
    ("sim?t=2&memory=6400", {"lanes": 2, "vector_width": 8, "memory_bytes": 6400}, {}),
])
def test_an_address_says_what_is_simulated(boards, address, parts, memory):
    with pytest.raises(DeviceError, match="no board is started"):
        launch(address)
    assert boards == [(dataclasses.replace(DEFAULT, **parts), memory)]


def test_a_larger_model_keeps_what_the_address_says(boards, tmp_path):
    shape = ModelConfig(hidden=320, intermediate=128, layers=1, vocab=130)
    with pytest.raises(DeviceError, match="no board is started"):
        launch("sim:p64?v=16&e=4&prefetch=64",
               pack(DummyCheckpoint(shape, seed=7), tmp_path / "larger.trit"))
    ((config, _),) = boards
    assert config.max_hidden == 320 and config.beat_bytes == 64
    assert (config.vector_width, config.element_width, config.prefetch_beats) == (16, 4, 64)


@pytest.mark.parametrize("options, sentence", [
    ("kep=600", "unknown option 'kep': the closest is keep, and sim has .*latency.*"),
    ("latencies=9", "the closest is latency"),
    ("t=17", "t=17: it must be a whole number of 1 to 16"),
    ("g=65", "g=65: it must be a whole number of 1 to 64"),
    ("v=0", "v=0: it must be a whole number of 1 to 256"),
    ("v=3", "vector_width must be a power of two, not 3"),
    ("v=32", "at most beat_bytes = 16, not 32"),
    ("e=16", "element_width must be at most 32, .*not 16"),
    ("prefetch=-1", "prefetch=-1: it must be a whole number of 0 to 65536"),
    ("bandwidth=0", "bandwidth=0: it must be bytes per cycle, above 0 and up to 16384"),
    ("bandwidth=1e1", "bandwidth=1e1: it must be bytes"),
    ("bandwidth=16384.1", "bandwidth=16384.1: it must be bytes"),
    ("latency=1.5", "latency=1.5: it must be a whole number of 0 to 1000000000 cycles"),
    ("refresh=640", "refresh=640: it must be INTERVAL:CYCLES, as 640:16"),
    ("refresh=16:16", "refresh=16:16: .*leave time to read"),
    ("refresh=640:16:2", "refresh=640:16:2: it must be INTERVAL:CYCLES"),
])
def test_addresses_of_boards_that_cannot_be(boards, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        launch(f"sim?{options}")
    assert not boards


def test_kept_boards_are_told_apart():
    """Two commands share a board only if all that can be said of one is the same."""
    slow = {"bandwidth": 8.0, "latency": 100, "refresh": (640, 16)}
    ways = [(DEFAULT, {}), (DEFAULT, slow), *((DEFAULT, slow | {name: other}) for name, other in
            [("bandwidth", 4.0), ("latency", 40), ("refresh", (640, 32))]),
            *((dataclasses.replace(DEFAULT, **{name: 4}), {}) for name in
              ("vector_width", "element_width", "prefetch_beats"))]
    assert len({_key(config, options) for config, options in ways}) == len(ways)
    assert _key(DEFAULT, slow) == _key(DEFAULT, dict(reversed(slow.items())))


# The default board.

@pytest.mark.verilator
def test_it_says_what_it_is(cache):
    with Board(DEFAULT, cache=cache) as board, \
            Device.open(board.uri, build=DEFAULT.digest()) as device:
        identity = device.identity
        assert (identity.beat_bytes, identity.vector_width, identity.max_hidden) == (16, 8, 256)
        assert identity.memory_units * 64 == DEFAULT.memory_bytes


@pytest.mark.verilator
def test_memory_keeps_what_is_written(cache, seed):
    content = np.random.default_rng(seed).bytes(64 * 300)
    with Board(DEFAULT, cache=cache) as board:
        with Device.open(board.uri) as device:
            assert device.upload(content) == len(content)
            assert device.upload(content) == 0
        with Device.open(board.uri) as device:
            assert device.upload(content) == 0
            with pytest.raises(DeviceError, match="refused"):
                device.upload(bytes(DEFAULT.memory_bytes + 64))


@pytest.mark.verilator
def test_spaces_keep_what_is_stored(cache, image, seed):
    random = np.random.default_rng(seed)
    state = random.integers(-(1 << 23), 1 << 23, (image.layers, image.hidden))
    vectors = random.integers(-(1 << 31), 1 << 31, DEFAULT.vector_elements)
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as device:
        device.load(image)
        device.restore_state(state)
        device.store(Space.VECTORS, 0, vectors)
        np.testing.assert_array_equal(device.save_state(), state)
        np.testing.assert_array_equal(device.read(Space.VECTORS, 0, len(vectors)), vectors)
        with pytest.raises(DeviceError, match="refused"):
            device.store(Space.RECORDS, 0, vectors[:4])
        with pytest.raises(DeviceError, match="refused"):
            device.read(Space.STATE, DEFAULT.max_state - 1, 2)
        np.testing.assert_array_equal(device.save_state(), state)


@pytest.mark.verilator
def test_every_stage_of_every_token_equals_golden(cache, image):
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as device:
        device.load(image)
        stepwise(device, image, TOKENS)
        stepwise(device, image, TOKENS[::-1])


@pytest.mark.verilator
def test_bundled_model_runs_on_by_itself(cache):
    """A prompt, then 64 tokens of greedy text without the host."""
    image = resolve(DEFAULT_MODEL).image
    prompt, golden = [1, 17, 400], Golden(image)
    with Device(launch("sim", image, cache=cache)) as device:
        assert device.load(image) == 0
        results = list(device.run(prompt, 64, fresh=True, candidates=True))
        tokens = [result.token for result in results]
        assert tokens[:len(prompt)] == prompt
        assert len(tokens) == len(prompt) + 63
        for position, result in enumerate(results):
            head = position >= len(prompt) - 1
            acc, digests = golden.step(result.token, head)
            best = candidates(acc, DEFAULT.candidates) if head else []
            assert (result.digest, list(result.candidates)) == (digests[-1], best), position


@pytest.mark.verilator
def test_all_logits(cache, image):
    golden = Golden(image)
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as device:
        device.load(image)
        results = device.run(TOKENS, heads=True, logits=True, fresh=True)
        for token, result in zip(TOKENS, results, strict=True):
            np.testing.assert_array_equal(result.logits, golden.step(token)[0])


@pytest.mark.verilator
@pytest.mark.parametrize("options", [
    {"bandwidth": 0.75}, {"latency": 700}, {"bandwidth": 8, "refresh": (600, 280)}], ids=str)
def test_slow_memory_costs_stalls_and_changes_nothing(cache, image, options):
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as device:
        device.load(image)
        fast = list(device.run(TOKENS, heads=True, fresh=True))
    with Board(DEFAULT, cache=cache, **options) as board, Device.open(board.uri) as device:
        device.load(image)
        slow = list(device.run(TOKENS, heads=True, fresh=True))
    assert [result.digest for result in slow] == [result.digest for result in fast]
    for one, other in zip(slow, fast, strict=True):
        assert one.stalls > other.stalls
        assert one.cycles > other.cycles


@pytest.mark.verilator
def test_bandwidth_bounds_a_pass(cache, image):
    """Half a byte per cycle: a pass takes two cycles per byte, and a little more."""
    with Board(DEFAULT, cache=cache, bandwidth=0.5) as board, Device.open(board.uri) as device:
        device.load(image)
        (result,) = device.run([5], fresh=True)
        size = 64 * (image.tape_units + image.row_units)
        assert 1.95 * size <= result.cycles <= 2.1 * size


@pytest.mark.verilator
@pytest.mark.parametrize("latency", [40, 200])
@pytest.mark.parametrize("model", ["tiny", "demo"])
def test_a_memory_of_half_the_rate_is_never_waited_for(cache, model, latency):
    """Beats are read ahead in what would be its pauses: nearly all that it can deliver is used.

    Nobody can hide the latency of a token's first beat. A pass may also meet one refresh more than
    its share: where the first falls depends on when the host has asked.
    """
    whole = resolve(model).image
    interval, refresh = 640, 16
    address = f"sim?bandwidth=8&latency={latency}&refresh={interval}:{refresh}"
    with Device(launch(address, whole, cache=cache)) as device:
        device.load(whole)
        *_, result = device.run([5, 6, 7], fresh=True)
    size = UNIT * (whole.tape_units + whole.row_units)
    least = size / 8 * interval / (interval - refresh)
    print(f"{model}, latency {latency}: {least / result.cycles:.1%} of what the memory delivers")
    assert result.cycles - latency - refresh <= least / 0.98


@pytest.mark.verilator
def test_damaged_bytes_change_nothing(cache, image, seed):
    with Board(DEFAULT, cache=cache) as board:
        cable = open_transport(board.uri)
        cable.retry_seconds = 0.2
        faults = Faults(flip=1e-4, drop=1e-4, duplicate=1e-4)
        with Device(FaultyTransport(cable, faults, seed=seed)) as device:
            device.load(image)
            assert digests_of(device, TOKENS)[-1] == golden_digest(image, TOKENS)
            assert device.statistics.resent + device.counters().frames_bad > 0


# A host that leaves, and a board that does.

@pytest.mark.verilator
def test_a_board_that_does_not_open_its_port(tmp_path, monkeypatch):
    program = tmp_path / "board"
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o700)
    monkeypatch.setattr("tritstream_sim.board.process.build", lambda config, cache: program)
    monkeypatch.setattr("tritstream_sim.board.process.START_SECONDS", 0.2)
    with pytest.raises(DeviceError, match="has not opened its port within 0 s"):
        Board(DEFAULT)


def test_host_that_hangs_up_in_mid_run(cache, image):
    with Board(DEFAULT, cache=cache) as board:
        cable = open_transport(board.uri)
        device = Device(cable)
        device.load(image)
        run = device.run([5], 50, fresh=True)
        next(run)
        cable.close()
        with Device.open(board.uri) as second:
            assert second.load(image) == 0
            stepwise(second, image, TOKENS)


@pytest.mark.verilator
def test_stop_in_mid_run(cache, image):
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as device:
        device.load(image)
        run = device.run([5], 50, fresh=True)
        next(run)
        run.close()
        stepwise(device, image, TOKENS)


@pytest.mark.verilator
def test_board_that_is_killed_in_mid_run(cache, image):
    with Board(DEFAULT, cache=cache) as board:
        device = Device.open(board.uri)
        device.load(image)
        run = device.run([5], 50, fresh=True)
        next(run)
        os.kill(board.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="went away"):
            list(run)
        device.close()


@pytest.mark.verilator
def test_board_ends_with_the_program_that_started_it(cache):
    """The board holds this program's end of the pipe: `run` returns when both are gone."""
    program = textwrap.dedent(f"""
        import os, pathlib
        from tritstream_sim.board import Board, board_config
        Board(board_config(), cache=pathlib.Path({str(cache)!r}))
        print("started", flush=True)
        os._exit(0)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=600)
    assert done.stdout == "started\n"


@pytest.mark.verilator
def test_name_sim_is_a_board_that_fits_and_holds_the_image(cache, image, tmp_path):
    transport = launch("sim", image, cache=cache)
    with Device(transport) as device:
        assert device.name == "sim"
        assert device.load(image) == 0
        assert digests_of(device, TOKENS)[-1] == golden_digest(image, TOKENS)
        assert device.upload(bytes(image.payload)) == 0         # its memory says so too
        shape = ModelConfig(hidden=64, intermediate=128, layers=2, vocab=130)
        other = pack(DummyCheckpoint(shape, seed=8), tmp_path / "other.trit")
        assert device.load(other) > 0
        assert digests_of(device, TOKENS)[-1] == golden_digest(other, TOKENS)
        assert device.load(image) > 0
        assert digests_of(device, TOKENS)[-1] == golden_digest(image, TOKENS)


def wait_until(done, interval, seconds=30.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not done after {seconds} s"
        time.sleep(interval)


@pytest.mark.verilator
def test_a_board_that_is_kept_serves_the_next_command(image, tmp_path, cache):
    shutil.copytree(build(DEFAULT, cache).parent, tmp_path / "cache", copy_function=os.link,
                    ignore=lambda _, names: [name for name in names if "board-" not in name])

    def notes():
        return [path for path in (tmp_path / "cache").glob("kept-*") if path.suffix != ".lock"]

    def command(upload=None):
        with Device(launch("sim?keep=2", image, cache=tmp_path / "cache")) as device:
            assert device.load(image) == 0
            assert digests_of(device, TOKENS)[-1] == golden_digest(image, TOKENS)
            where = [note.read_text() for note in notes()]
            if upload is not None:
                assert device.upload(upload) > 0
            return where

    first = command()
    assert command() == first != []
    with open_transport(first[0]):          # somebody else uses it: another one is started
        second = command()
        assert second != first
    assert command(bytes(64)) == second
    assert not notes()                      # that one does not hold the image any more
    third = command()
    assert third != second
    wait_until(lambda: not notes(), 0.1)
    for (uri,) in (first, second, third):
        wait_until(lambda uri=uri: refuses(uri), 2.5)       # to ask is to use it


@pytest.mark.verilator
def test_another_board_at_the_port_of_one_that_was_killed(image, tmp_path, cache):
    """Its memory is not taken for what the other was started with."""
    program = build(DEFAULT, cache)
    place = tmp_path / "cache"
    shutil.copytree(program.parent, place, copy_function=os.link,
                    ignore=lambda _, names: [name for name in names if name != program.name])
    with Device(launch("sim?keep=60", image, cache=place)) as device:
        assert device.load(image) == 0
    (note,) = [path for path in place.glob("kept-*") if path.suffix != ".lock"]
    uri = read_note(note)
    transport = _BoardTransport(uri, "sim", image.payload, note=note)
    assert transport.preloaded is image.payload
    transport.close()
    kill_holder(note)
    assert note.read_text() == uri and read_note(note) is None
    with subprocess.Popen([program, "--port", uri.rpartition(":")[2], "--memory",
                           str(DEFAULT.memory_bytes)], stdout=subprocess.PIPE) as other:
        try:
            assert b"port" in other.stdout.readline()
            with Device(_BoardTransport(uri, "sim", image.payload, note=note)) as device:
                assert device.load(image) > 0
            with Device(launch("sim?keep=1", image, cache=place)) as device:
                assert device.load(image) == 0
                assert digests_of(device, TOKENS)[-1] == golden_digest(image, TOKENS)
                assert read_note(note) not in (None, uri)
        finally:
            other.kill()


def kill_holder(note):
    """Kill the process that has a lock on a file, and wait until it is gone."""
    inode = f":{note.stat().st_ino} "
    (line,) = [line for line in pathlib.Path("/proc/locks").read_text().splitlines()
               if "FLOCK" in line and inode in line]
    os.kill(int(line.split()[4]), signal.SIGKILL)
    wait_until(lambda: read_note(note) is None, 0.01)


def refuses(uri):
    with contextlib.suppress(DeviceError), open_transport(uri):
        return False
    return True


# Hosts that are silent, and ports that are taken.

@pytest.mark.verilator
def test_a_silent_host_makes_way(cache):
    with Board(DEFAULT, cache=cache) as board, open_transport(board.uri) as silent:
        with Device.open(board.uri) as device:
            assert device.identity.build == DEFAULT.digest()
        with pytest.raises(DeviceError, match="closed the connection"):
            silent.read(1.0)


@pytest.mark.verilator
def test_a_second_host_is_told_that_the_board_is_busy(cache):
    with Board(DEFAULT, cache=cache) as board, Device.open(board.uri) as first:
        with pytest.raises(DeviceBusy, match="busy with another host"):
            Device.open(board.uri)
        assert first.identify() == first.identity


@pytest.mark.verilator
@pytest.mark.parametrize("line, reason", [
    ("'{board}' >&-", "Bad file descriptor"), ("'{board}' <&- >&-", "Bad file descriptor"),
    ("'{board}' >/dev/full", "No space left on device"),
    ("exec 3> >(true); wait $!; '{board}' >&3", "Broken pipe"),    # the reader has gone before
    ("'{python}' -m tritstream_sim.board -m tiny >&-", "Bad file descriptor")])
def test_a_port_that_cannot_be_told(cache, tmp_path, line, reason):
    board = build(DEFAULT, cache)
    (tmp_path / "tritstream" / "boards").mkdir(parents=True)
    os.link(board, tmp_path / "tritstream" / "boards" / board.name)
    done = subprocess.run(["bash", "-c", line.format(board=board, python=sys.executable)],
                          timeout=60, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (f"board: its port cannot be told ({reason}): give it an output that can "
                           "be written.\n")


@pytest.mark.parametrize("raised, code, sentence", [
    (KeyboardInterrupt(), 130, "interrupted\n"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "cannot be used: No space left")])
def test_a_board_by_hand_that_cannot_start(monkeypatch, capsys, raised, code, sentence):
    def fail():
        raise raised

    monkeypatch.setattr("tritstream_sim.board.__main__.build", lambda config, trace: "board")
    monkeypatch.setattr("tritstream_sim.board.__main__.tempfile.TemporaryFile", fail)
    with pytest.raises(SystemExit) as ended:
        main(["-m", "tiny"])
    assert ended.value.code == code and sentence in capsys.readouterr().err


@pytest.mark.verilator
@pytest.mark.parametrize("options, sentence", [
    (["--bandwidth", "0"], "0 is not a number above 0 and up to 16384"),
    (["--latency", "1e3"], "1e3 is not a whole number from 0"),
    (["--refresh", "5"], "5 is not INTERVAL:CYCLES"),
    (["--memory", "0", "--preload", "x"], "a board without memory cannot be preloaded"),
    (["--memory", "64", "--preload", "absent"], "absent cannot be read (No such file"),
    (["--memory", "64", "--preload", "/dev/zero"], "/dev/zero cannot be read, or is larger"),
    (["--port", "PORT"], "cannot be opened (Address already in use): choose another"),
    (["--port", "PORT", "--keep", "5"], "cannot be opened (Address already in use)"),
])
def test_the_board_itself_refuses_nonsense(cache, options, sentence):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [build(DEFAULT, cache), *(port if word == "PORT" else word for word in options)],
            capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr


# A board without memory.

@pytest.mark.verilator
def test_streamed_weights_equal_golden(cache, image):
    with Board(WITHOUT_MEMORY, cache=cache) as board, Device.open(board.uri) as device:
        assert device.load(image) == 0
        assert device.streamed
        stepwise(device, image, TOKENS)
        with pytest.raises(DeviceError, match="refused"):
            device.upload(bytes(64))


# A board whose memory has no room for all embedding rows.

@pytest.mark.verilator
def test_embedding_rows_as_they_are_needed_equal_golden(cache, image):
    """Two tokens share a pass, and four rows are in the memory at a time."""
    needs = Needs.of(image)
    room = needs.token_bytes + 3 * needs.row_bytes
    transport = launch(f"sim:p4?t=2&memory={room}", image, cache=cache)
    with LanesEngine(Device(transport), image, simulated=True) as board, \
            GoldenEngine(image) as golden:
        assert not board.runs_ahead
        results = []
        for engine in board, golden:
            texts = [engine.open() for _ in range(2)]
            engine.step([Work(texts[0], TOKENS), Work(texts[1], TOKENS[::-1])])
            steps = [step for start in (5, 6)
                     for step in engine.run(dict.fromkeys(texts, start), 4)]
            results.append([[(result.candidates.best, result.digest) for result in step]
                            for step in steps])
        assert results[0] == results[1]
        assert len({token for step in results[0] for token, _ in step}) > 4
