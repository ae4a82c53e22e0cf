"""The driver against an emulated device."""

import contextlib
import dataclasses
import socket
import threading

import numpy as np
import pytest

from tritstream.build import BuildConfig
from tritstream.driver import CHUNK_UNITS, DEPTH, STOP_SECONDS, Device
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.formats import UNIT
from tritstream.link.endpoint import LinkOptions
from tritstream.link.messages import Identity, Lane, Run, Transfer
from tritstream.link.protocol import PROTOCOL, Code, LaneFlag, Space
from tritstream.link.stream import SLOWDOWN, LinkReset, LinkStream
from tritstream.transport import (
    Faults,
    FaultyTransport,
    ReplayTransport,
    TcpTransport,
    open_transport,
)
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.fake import FakeImage, FakeModel
from tritstream_sim.twin.in_process import InProcessTransport

SHAPE = dict(max_hidden=64, max_intermediate=128, max_state=128, max_vocab=64)
CONFIG = BuildConfig(memory_bytes=1 << 20, **SHAPE)
BARE = BuildConfig(**SHAPE)
LANES = dataclasses.replace(CONFIG, lanes=3)


def served(image, config=CONFIG, model=FakeModel, wrap=None, **options):
    """An emulator of `config` on a TCP port, with the model of `image`."""
    return Server(Emulator(config, model(image, config), **options), wrap=wrap)


@pytest.fixture
def image():
    return FakeImage(tape_units=200)        # more than the device has room for on the way


@pytest.fixture
def server(image):
    with served(image) as server:
        yield server


@pytest.fixture
def device(server):
    with Device.open(server.uri, dead_seconds=5.0) as device:
        yield device


def digests(results):
    return [(result.token, result.digest, result.candidates) for result in results]


# What it is.

def test_identity(device):
    assert device.identity == Identity.of(CONFIG)
    assert device.identify() == device.identity
    assert device.identity.build == CONFIG.digest()
    assert device.identity.memory_units == (1 << 20) // UNIT


@pytest.mark.parametrize("field, value, sentence", [
    ("protocol", 9, f"speaks protocol 9, this program {PROTOCOL}"),
    ("formats", 7, "number formats of version 7, this program in 1"),
    ("beat_bytes", 48, "says that it has 1 memories with beats of 48 bytes"),
    ("groups", 0, "says that it has 0 memories with beats of 16 bytes"),
])
def test_strange_devices_are_refused(image, field, value, sentence):
    identity = dataclasses.replace(Identity.of(CONFIG), **{field: value})
    with served(image, identity=identity) as server:
        with pytest.raises(DeviceError, match=sentence):
            Device.open(server.uri)


def test_another_build_is_refused(server):
    Device.open(server.uri, build=CONFIG.digest()).close()
    with pytest.raises(DeviceError, match=f"holds build {CONFIG.digest().hex()}, not {'00' * 8}"):
        Device.open(server.uri, build=bytes(8))


@pytest.mark.parametrize("shape, sentence", [
    (dict(hidden=65), "hidden size of 65 exceeds 64"),
    (dict(intermediate=129), "intermediate size of 129 exceeds 128"),
    (dict(layers=3), "recurrent state of 192 exceeds 128"),
    (dict(vocab=65), "vocabulary of 65 exceeds 64"),
])
def test_images_that_do_not_fit(device, shape, sentence):
    with pytest.raises(BadInput, match=sentence):
        device.load(FakeImage(**shape))


# Weights.

def test_upload_once(device, server, image):
    steps = []
    assert device.load(image, progress=lambda done, total: steps.append((done, total))) \
        == len(image.payload)
    assert not device.streamed
    assert server.emulator.memory[:len(image.payload)] == image.payload
    assert steps[-1] == (len(image.payload), len(image.payload))
    assert device.load(image) == 0


def test_upload_of_many_pieces(device, server):
    payload = np.random.default_rng(1).bytes(3 * CHUNK_UNITS * UNIT + 5 * UNIT)
    steps = []
    device.upload(payload, lambda done, total: steps.append(done))
    assert server.emulator.memory[:len(payload)] == payload
    assert steps == [CHUNK_UNITS * UNIT, 2 * CHUNK_UNITS * UNIT, 3 * CHUNK_UNITS * UNIT,
                     len(payload)]
    changed = bytearray(payload)
    changed[2 * CHUNK_UNITS * UNIT] ^= 1
    assert device.upload(changed) == CHUNK_UNITS * UNIT + 5 * UNIT
    assert server.emulator.memory[:len(payload)] == changed


def test_upload_is_remembered_between_sessions(server, image):
    with Device.open(server.uri) as device:
        assert device.load(image) > 0
    with Device.open(server.uri) as device:
        assert device.load(image) == 0


def test_upload_into_bad_memory(image):
    class Stuck(bytearray):
        """Memory with a bit that stays."""

        def __setitem__(self, key, value):
            if isinstance(key, slice) and key.start == 2 * UNIT:
                value = bytes([value[0] ^ 4]) + value[1:]
            super().__setitem__(key, value)

    with served(image) as server:
        server.emulator.memory = Stuck(CONFIG.memory_bytes)
        with Device.open(server.uri) as device:
            with pytest.raises(DeviceError, match="does not hold what was written from byte 0 on"):
                device.load(image)


def test_upload_of_half_a_unit(device):
    with pytest.raises(BadInput, match="100 bytes, which are not whole units of 64"):
        device.upload(bytes(100))


def test_image_larger_than_the_memory(device):
    large = FakeImage(tape_units=1 << 15)
    with pytest.raises(BadInput, match="has 1048576: stream the weights"):
        device.load(large, streamed=False)
    assert device.load(large) == 0
    assert device.streamed


def test_streamed_equals_uploaded(image):
    results = []
    for config in (CONFIG, BARE):
        with served(image, config) as server, Device.open(server.uri) as device:
            device.load(image)
            assert device.streamed == (config is BARE)
            results.append(digests(device.run([1, 2, 3], 6, fresh=True)))
    assert results[0] == results[1]
    assert [token for token, _, _ in results[0]][:3] == [1, 2, 3]
    assert len(results[0]) == 2 + 6


# Embedding rows as they are needed.

def rows_of(image, count, **shape):
    """A build with room for a tape and so many embedding rows."""
    return BuildConfig(memory_bytes=(image.tape_units + count) * UNIT, **(SHAPE | shape))


@pytest.mark.parametrize("count", [1, 2, 5, 31])
def test_rows_as_they_are_needed_equal_all_of_them(image, count):
    results = []
    for config in CONFIG, rows_of(image, count):
        with served(image, config) as server, Device.open(server.uri) as device:
            device.load(image)
            assert not device.streamed and device.goes_on_alone == (config is CONFIG)
            results.append([digests(device.run([*range(20), 3, 3, 4, 19], 40, fresh=True)),
                            digests(device.run([5, 6, 5], 3, heads=True))])
    assert results[0] == results[1]


def test_a_row_that_is_there_is_not_written_again(image):
    config, places = rows_of(image, 4), []

    class Noting(bytearray):
        """Memory that notes which places for rows are written."""

        def __setitem__(self, key, value):
            if isinstance(key, slice) and key.start >= image.tape_units * UNIT:
                places.append(key.start // UNIT - image.tape_units)
            super().__setitem__(key, value)

    with served(image, config) as server, Device.open(server.uri) as device:
        server.emulator.memory = Noting(config.memory_bytes)
        device.load(image)
        first = digests(device.run([1, 2, 3, 4], 0, fresh=True))
        assert digests(device.run([1, 2, 3, 4], 0, fresh=True)) == first
        assert places == [0, 1, 2, 3]
        list(device.run([1, 9, 1, 2], 0))       # 9 comes in the place of 2, and that in that of 3
        assert places[4:] == [1, 2]


def test_rows_of_tokens_that_share_a_pass(image):
    lanes = [Lane(slot=n, token=n + 1, flags=LaneFlag.FRESH) for n in range(3)]
    prompt = [Lane(slot=0, token=token, flags=LaneFlag.FOLLOWS | LaneFlag.BODY)
              for token in (7, 7, 8, 9, 10, 7, 11)]
    results = []
    for config in LANES, rows_of(image, 3, lanes=3):
        with served(image, config) as server, Device.open(server.uri) as device:
            device.load(image)
            results.append([
                *map(digests, device.run_together(lanes, 30)), digests(device.together(prompt)),
                digests(device.run([1, 2], 5, fresh=True))])
    assert results[0] == results[1]


def test_room_for_fewer_rows_than_share_a_pass(image):
    with served(image, rows_of(image, 2, lanes=3)) as server, Device.open(server.uri) as device:
        with pytest.raises(BadInput, match="needs 12992 bytes of memory, and .* has 12928"):
            device.load(image, streamed=False)
        assert device.load(image) == 0 and device.streamed


def test_an_upload_without_rows_goes_on_where_it_stopped():
    image = FakeImage(tape_units=3 * CHUNK_UNITS + 5)
    config = rows_of(image, 4)
    tape = image.tape_units * UNIT

    def stop(done, total):
        assert total == tape
        if done > CHUNK_UNITS * UNIT:
            raise KeyboardInterrupt

    with served(image, config) as server, Device.open(server.uri) as device:
        with pytest.raises(KeyboardInterrupt):
            device.load(image, progress=stop)
        assert device.load(image) == tape - 2 * CHUNK_UNITS * UNIT
        whole = digests(device.run([1, 2, 3], 5, fresh=True))
        assert device.load(image) == 0
        assert digests(device.run([1, 2, 3], 5, fresh=True)) == whole


def test_another_model_has_other_rows(image):
    other = FakeImage(seed=2, tape_units=210)
    config = rows_of(other, 3)
    with served(image, config) as server, Device.open(server.uri) as device:
        device.load(image)
        assert device.goes_on_alone is False
        first = digests(device.run([1, 2, 3], 5, fresh=True))
        device.load(other)
        list(device.run([1, 2, 3], 5, fresh=True))
        assert device.load(image) > 0
        assert digests(device.run([1, 2, 3], 5, fresh=True)) == first


def test_a_row_into_bad_memory(image):
    class Stuck(bytearray):
        """Memory with a bit that stays, behind the tape."""

        def __setitem__(self, key, value):
            if isinstance(key, slice) and key.start == image.tape_units * UNIT:
                value = bytes([value[0] ^ 4]) + value[1:]
            super().__setitem__(key, value)

    config = rows_of(image, 2)
    with served(image, config) as server, Device.open(server.uri) as device:
        server.emulator.memory = Stuck(config.memory_bytes)
        device.load(image)
        with pytest.raises(DeviceError, match="does not hold what was written from byte 12800 on"):
            list(device.run([1, 2, 3], 2))


# Passes.

@pytest.mark.parametrize("streamed", [False, True])
def test_only_the_last_of_a_prompt_has_a_head(device, image, streamed):
    device.load(image, streamed=streamed)
    results = list(device.run(range(DEPTH + 5), 2, candidates=True))
    heads = [bool(result.candidates) for result in results]
    assert heads == [False] * (DEPTH + 4) + [True] * 2
    assert results[-1].token == results[-2].best
    assert len(results[-1].candidates) == CONFIG.candidates
    assert results[0].cycles == sum(100 + stage for stage in range(image.body_stages))
    assert results[-1].scale == 40_000 * 2.0 ** (10 - 20)


def test_passes_do_not_wait_for_answers(device, server, image):
    device.load(image)
    before = device.statistics.sent
    list(device.run([1] * 100, 0))
    assert server.emulator.model.passes == 100
    # One frame for each command, and few acknowledgements besides.
    assert device.statistics.sent - before < 160


def test_a_greedy_run_is_one_command(device, image):
    device.load(image)
    list(device.run([1], 1))
    before = device.statistics.sent
    assert len(list(device.run([1], 200))) == 200
    # Acknowledgements: at the most one for every second frame.
    assert device.statistics.sent - before <= 1 + 200 // 2 + 1


def test_a_greedy_run_of_several_is_one_command(image):
    """And is what it is a pass at a time, on a device that the weights are sent to."""
    runs, lanes = [], [Lane(slot=n, token=n + 1, flags=LaneFlag.FRESH) for n in range(3)]
    for config in LANES, dataclasses.replace(LANES, memory_bytes=0):
        with served(image, config) as server, Device.open(server.uri) as device:
            device.load(image)
            list(device.together(lanes))
            before = device.statistics.sent
            runs.append([digests(results) for results in device.run_together(lanes, 200)])
            sent = device.statistics.sent - before
            assert (sent <= 1 + 200 // 2 + 1) == (config is LANES)
    assert len(runs[0]) == 200 and runs[0] == runs[1]


def test_lanes_that_a_device_has_not(device, image):
    device.load(image)
    for call in (device.together, lambda lanes: device.run_together(lanes, 2)):
        with pytest.raises(BadInput, match="has one lane: run one text"):
            list(call([Lane(token=1)]))
    with served(image, LANES) as server, Device.open(server.uri) as device:
        device.load(image)
        for count in 0, 4:
            with pytest.raises(BadInput, match=f"1 to 3 tokens, not {count}: share them out"):
                list(device.run_together([Lane(token=1)] * count, 2))
        assert len(list(device.run_together([Lane(token=1)], 2))) == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_stop_token_ends_a_run(streamed):
    image = FakeImage()
    with served(image) as server, Device.open(server.uri) as device:
        device.load(image, streamed=streamed)
        tokens = [result.best for result in device.run([5], 10, fresh=True)]
        image.stop_token = tokens[4]
        device.load(image, streamed=streamed)
        stopped = [result.best for result in device.run([5], 10, fresh=True)]
        assert stopped == tokens[:tokens.index(image.stop_token) + 1]


@pytest.mark.parametrize("streamed", [False, True])
def test_logits(device, image, streamed):
    device.load(image, streamed=streamed)
    results = list(device.run([1, 2, 3], 2, heads=True, logits=True))
    assert len(results) == 4
    for result in results:
        assert result.logits.shape == (image.vocab,)
        assert result.logits.dtype == np.int32
        token, acc = result.candidates[0]
        assert result.logits.argmax() == token == result.best
        assert result.logits[token] == acc
    plain = list(device.run([1, 2, 3], 2))
    assert [result.logits for result in plain] == [None] * 4


def test_many_logits_do_not_block(image):
    config = BuildConfig(max_vocab=60_000, max_hidden=64, max_intermediate=128, max_state=128)
    image = FakeImage(vocab=60_000)
    with served(image, config) as server, Device.open(server.uri) as device:
        device.load(image)
        assert device.streamed
        results = list(device.run([1, 2, 3], 1, heads=True, logits=True))
        assert [len(result.logits) for result in results] == [60_000] * 3


def test_a_debugger_stops_at_any_stage(device, image):
    device.load(image)
    play = Run(token=3, tape_units=image.tape_units, stages=2)
    result, = device.play([play])
    assert not result.candidates
    assert len(device.records(2)) == 2


@pytest.mark.parametrize("tokens, count, sentence", [
    ([], 1, "prompt is empty"),
    ([1], -1, "at least 0, not -1"),
])
def test_prompts_that_cannot_be_run(device, image, tokens, count, sentence):
    device.load(image)
    with pytest.raises(BadInput, match=sentence):
        list(device.run(tokens, count))


@pytest.mark.parametrize("whole", [True, False])
def test_a_token_that_the_device_refuses(image, whole):
    with served(image, CONFIG if whole else rows_of(image, 3)) as server, \
            Device.open(server.uri) as device:
        device.load(image)
        with pytest.raises(DeviceError, match="refused to run token 32: the token is not in the v"):
            list(device.run([1, 2, 32]))
        assert len(list(device.run([1, 2], 3))) == 4


def test_run_without_a_model(device):
    with pytest.raises(BadInput, match="load an image first"):
        list(device.run([1]))


def test_a_pass_that_fails(device, server, image):
    class Broken(FakeModel):
        def run_pass(self, *arguments, **options):
            if self.passes == 2:
                raise ValueError("no such stage")
            return super().run_pass(*arguments, **options)

    device.load(image)
    server.emulator.model = Broken(image, CONFIG)
    with pytest.raises(DeviceError, match="refused to run token 3: the tape does not make sense"):
        list(device.run([1, 2, 3, 4, 5, 6], 3))
    server.emulator.model = FakeModel(image, CONFIG)
    assert len(list(device.run([1, 2], 3))) == 4


# State, vectors, counters.

def test_state_is_saved_and_restored(device, server, image):
    device.load(image)
    list(device.run([1, 2, 3], 1, fresh=True))
    state = device.save_state()
    assert state.shape == (image.layers, image.hidden)
    assert np.array_equal(state.reshape(-1), server.emulator.model.state)
    list(device.run([9], 4))
    device.restore_state(state)
    assert np.array_equal(device.save_state(), state)


@pytest.mark.parametrize("state, sentence", [
    (np.zeros((2, 65), np.int32), r"shape \[2, 65\] .* not integers of shape \[2, 64\]"),
    (np.zeros((2, 64), np.float32), "type float32"),
    (np.full((2, 64), (1 << 23) - 32, np.int32), "outside -8388608 to 8388575"),
])
def test_states_of_something_else(device, image, state, sentence):
    device.load(image)
    with pytest.raises(BadInput, match=sentence):
        device.restore_state(state)


def test_states_are_kept_and_recalled(device, server, image):
    """Each on its shelf, from the end of the memory on, and the image stays what it is."""
    device.load(image)
    unit, emulator = device.identity.stripes.unit_bytes, server.emulator
    room = CONFIG.memory_bytes - len(image.payload)
    assert device.shelves == room // (4 * CONFIG.max_state)
    states, crcs = {}, {}
    for shelf in (0, 7, device.shelves - 1):
        list(device.run([shelf % 32], 2, fresh=True))
        states[shelf] = device.save_state()
        crcs[shelf] = device.keep_state(shelf)
    for shelf, crc in reversed(crcs.items()):
        device.recall_state(shelf, crc)
        assert np.array_equal(device.save_state(), states[shelf])
        end = len(emulator.memory) - shelf * 4 * CONFIG.max_state
        assert emulator.memory[end - 4 * CONFIG.max_state:end] == states[shelf].tobytes()
    assert emulator.memory[:len(image.payload)] == image.payload and unit == UNIT
    assert device.load(image) == 0


def test_states_of_several_slots_are_kept(image):
    with served(image, LANES) as server, Device.open(server.uri) as device:
        device.load(image)
        states = [np.full((2, 64), slot, np.int32) for slot in range(3)]
        for slot, state in enumerate(states):
            device.restore_state(state, slot=slot)
        crcs = [device.keep_state(slot, slot=slot) for slot in range(3)]
        for slot in range(3):
            device.recall_state(slot, crcs[slot], slot=(slot + 1) % 3)
        assert [device.save_state(slot=slot)[0, 0] for slot in range(3)] == [2, 0, 1]
        with pytest.raises(DeviceError, match="keep the state of slot 3 .* out of its range"):
            device.keep_state(0, slot=3)
        device.recall_state(1, crcs[1])


def test_a_state_that_is_not_there_any_more(device, server, image):
    """Which nobody takes for the state that was kept."""
    device.load(image)
    crc = device.keep_state(2)
    server.emulator.memory[-3 * 4 * CONFIG.max_state] ^= 1
    with pytest.raises(DeviceError, match="does not hold the state that was kept there from byte"):
        device.recall_state(2, crc)
    for shelf in (-1, device.shelves):
        with pytest.raises(BadInput, match=f"has no shelf {shelf} for a state: its memory has room "
                                           f"for {device.shelves}, counted from 0"):
            device.keep_state(shelf)


def test_a_device_without_memory_keeps_no_states(image):
    with served(image, BARE) as server, Device.open(server.uri) as device:
        device.load(image)
        assert device.shelves == 0
        with pytest.raises(BadInput, match="has no shelf 0 for a state"):
            device.keep_state(0)
        assert len(list(device.run([1], 2))) == 2


def test_what_a_transfer_does(device, server, image):
    """Words that units have no room for are left, and so are units behind the words."""
    device.load(image)
    memory, state = server.emulator.memory, server.emulator.model.state
    state[:] = np.arange(128)
    before = bytes(memory)

    def carried(code, **where):
        transfer = Transfer(**{"space": Space.STATE, "address": 0, "words": 16, "unit": 9,
                               "units": 1, **where})
        device._command(code, transfer.pack())
        return tuple(device._stream.read(2))[1]

    assert carried(Code.KEEP, address=100, words=28, units=2) == 0
    words = np.frombuffer(bytes(memory[9 * UNIT:11 * UNIT]), "<i4")
    assert words.tolist() == [*range(100, 128), 0, 0, 0, 0]
    assert carried(Code.RECALL, address=3, words=20) == 0
    assert state[:25].tolist() == [0, 1, 2, *range(100, 116), *range(19, 25)]
    assert carried(Code.KEEP, units=0) == carried(Code.KEEP, words=0, unit=10) == 0
    assert memory[10 * UNIT:11 * UNIT] == bytes(UNIT)
    assert memory[:9 * UNIT] + memory[11 * UNIT:] == before[:9 * UNIT] + before[11 * UNIT:]
    for change, kept, recalled in ((dict(units=1 << 30), 1, 1), (dict(words=129), 1, 1),
                                   (dict(space=77), 2, 2),
                                   (dict(space=Space.COUNTERS, words=6), 0, 2)):
        assert carried(Code.KEEP, **change) == kept
        assert carried(Code.RECALL, **change) == recalled


def test_vectors_and_records(device, server, image):
    device.load(image)
    result = list(device.run([1], 1))[-1]
    model = server.emulator.model
    assert np.array_equal(device.read_vector("x", 64), model.vectors[:64])
    assert np.array_equal(device.read_vector("z", 128),
                          model.vectors[CONFIG.z_base:CONFIG.z_base + 128])
    records = device.records()
    assert len(records) == image.stages
    assert records[-1].digest == result.digest
    assert sum(record.cycles for record in records) == result.cycles
    with pytest.raises(BadInput, match="no vector 'y'"):
        device.read_vector("y", 1)
    with pytest.raises(DeviceError, match="to read 99999 words of space 0 from 0 on"):
        device.read_vector("x", 99_999)
    assert len(device.records()) == image.stages


def test_read_only_spaces(device):
    with pytest.raises(DeviceError, match="space 2 .* no such address space, or that is read only"):
        device.store(Space.RECORDS, 0, [1, 2, 3])
    with pytest.raises(DeviceError, match="no such address space"):
        device.read(9, 0, 1)


def test_counters(device):
    first = device.counters()
    second = device.counters()
    assert second.frames_good > first.frames_good > 0
    assert second.frames_bad == 0


# Trouble.

def test_wires_that_lose_and_damage(image):
    faults = Faults(drop=1e-4, flip=1e-4, duplicate=1e-4, cut=2e-5)

    def wrap(transport):
        return FaultyTransport(transport, faults, seed=1)

    link = LinkOptions.for_device(retry_seconds=0.02)
    results = []
    for options in (dict(), dict(wrap=wrap, link=link)):
        with served(image, **options) as server:
            transport = open_transport(server.uri)
            transport.retry_seconds = 0.02
            with Device(transport) as device:
                assert device.load(FakeImage(tape_units=3000)) > 190_000
                device.load(image)
                results.append(digests(device.run([1, 2, 3], 20, fresh=True)))
                damaged = device.statistics.bad + device.counters().frames_bad
    assert results[0] == results[1]
    assert damaged > 0


@pytest.mark.parametrize("damage, ends", [
    (1e-4, True), (1e-3, True), (3e-3, True), (1e-2, False), (3e-2, False), (0.1, False),
    (0.5, False)])
def test_however_many_bytes_are_damaged_every_call_ends(image, seed, damage, ends):
    """One byte in a hundred leaves one of two hundred full frames whole: that link is given up."""
    patience, rate = 60.0, 300_000
    emulator = Emulator(CONFIG, FakeModel(image, CONFIG))
    cable = InProcessTransport(emulator, faults=Faults(flip=damage), seed=seed, rate=rate)
    results = []
    refusal = pytest.raises(DeviceError, match="too slow|has not (moved|answered)|does not|garbage")
    with contextlib.nullcontext() if ends else refusal:
        device = Device(cable, patience_seconds=patience)
        began = cable.now()
        device.load(image)
        assert cable.now() - began <= patience + SLOWDOWN * len(image.payload) / rate + 1
        results = digests(device.run([1, 2, 3], 20, fresh=True))
        device.close()
    assert cable.now() <= 3 * (patience + 1) + STOP_SECONDS
    if ends:
        with Device(InProcessTransport(Emulator(CONFIG, FakeModel(image, CONFIG)))) as device:
            device.load(image)
            assert results == digests(device.run([1, 2, 3], 20, fresh=True))


def test_a_second_host_is_told_that_the_device_is_busy(image):
    """As a board behind a socket does; the first is not disturbed, and then there is room."""
    emulator = Emulator(CONFIG, FakeModel(image, CONFIG))
    with Server(emulator, turn_seconds=0.3) as server:
        with Device.open(server.uri) as first:
            with pytest.raises(DeviceBusy, match="busy with another host"):
                Device.open(server.uri)
            assert first.identify() == first.identity
        with Device.open(server.uri) as second:
            assert second.identity == first.identity


def test_device_goes_away_in_a_run(server, image):
    with Device.open(server.uri) as device:
        device.load(image)
        results = device.run([1], 10_000)
        next(results)
        server.hang_up()
        with pytest.raises(DeviceError, match="went away"):
            list(results)


def test_device_goes_away_in_an_upload(server, image):
    with Device.open(server.uri) as device:
        def unplug(done, total):
            server.hang_up()

        with pytest.raises(DeviceError, match="went away"):
            device.upload(bytes(2 * CHUNK_UNITS * UNIT), unplug)


@pytest.fixture
def stranger():
    """Something that is connected and does with the transport what a test says."""
    near, far = socket.socketpair()
    threads = []

    def connect(behaviour):
        thread = threading.Thread(target=behaviour, args=(TcpTransport(far, "far"),))
        threads.append(thread)
        thread.start()
        return TcpTransport(near, "tcp:stranger:1")

    yield connect
    far.close()
    for thread in threads:
        thread.join()


def mute(transport):
    """Take everything and say nothing."""
    with pytest.raises(DeviceError):
        while True:
            transport.read(1.0)


def noisy(transport):
    """Answer anything with random bytes."""
    random = np.random.default_rng(1)
    with pytest.raises(DeviceError):
        while True:
            if transport.read(1.0):
                transport.write(random.bytes(1000))


def answer(transport, reply):
    """Be a device that answers each byte of a command with `reply(byte)`."""
    stream = LinkStream(transport, LinkOptions.for_device(), dead_seconds=None,
                        patience_seconds=None)
    with pytest.raises(DeviceError):
        while True:
            with contextlib.suppress(LinkReset):
                stream.write(reply(stream.read(1)[0]))
                stream.flush()


def absent_minded(transport):
    """Acknowledge commands without answering them."""
    answer(transport, lambda code: b"")


def nonsensical(transport):
    """Say who it is, and then nothing that makes sense."""
    known = {Code.IDENTIFY: bytes([Code.IDENTIFY]) + Identity.of(BARE).pack()}
    answer(transport, lambda code: known.get(code, b"\x2a"))


@pytest.mark.parametrize("behaviour, sentence", [
    (mute, "does not answer .nothing came for.* no other program is using it"),
    (noisy, "answers garbage .[0-9]+ bytes without one good frame."),
    (absent_minded, "is alive but has not moved for"),
])
def test_strangers(stranger, behaviour, sentence):
    with pytest.raises(DeviceError, match=sentence):
        Device(stranger(behaviour), dead_seconds=0.3, patience_seconds=0.3)


def test_device_falls_silent_in_a_run(image):
    release = threading.Event()

    class Hung(FakeModel):
        def run_pass(self, *arguments, **options):
            if self.passes == 3:
                release.wait()
            return super().run_pass(*arguments, **options)

    with served(image, model=Hung) as server:
        with Device.open(server.uri, dead_seconds=1.0) as device:
            device.load(image)
            try:
                with pytest.raises(DeviceError, match="has not answered for [0-9.]+ s"):
                    list(device.run([1], 10))
            finally:
                release.set()


def test_another_answer_than_the_one_asked_for(stranger, image):
    with Device(stranger(nonsensical)) as device:
        device.load(image)
        with pytest.raises(DeviceError, match="answered 0x2a to command 0x04"):
            list(device.run([1], 1))


def test_interrupt_leaves_a_device_that_can_go_on(device, server, image):
    device.load(image)
    whole = digests(device.run([1, 2], 30, fresh=True))
    resets = server.emulator.resets
    results = device.run([1, 2], 100_000)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert server.emulator.resets == resets + 1
    assert digests(device.run([1, 2], 30, fresh=True)) == whole


@pytest.mark.parametrize("call", ["read", "write"])
@pytest.mark.parametrize("held", ["whole", "rows", "nothing"])
def test_interrupt_at_any_byte(image, held, call, monkeypatch):
    config = rows_of(image, 3) if held == "rows" else CONFIG
    with served(image, config) as server, Device.open(server.uri) as device:
        device.load(image, streamed=held == "nothing")
        whole = digests(device.run([1, 2], 5, fresh=True))
        for nth in range(1, 12):
            with monkeypatch.context() as patch:
                interrupt_at(patch, device._stream.transport, call, nth)
                with pytest.raises(KeyboardInterrupt):
                    list(device.run([1, 2], 1000))
            assert digests(device.run([1, 2], 5, fresh=True)) == whole


def interrupt_at(patch, transport, call, nth):
    """Raise KeyboardInterrupt in the `nth` call of a method of `transport`, once.

    Half of what is written then has gone out; what is read then is lost.
    """
    method = getattr(transport, call)
    count = 0

    def interrupted(argument):
        nonlocal count
        count += 1
        if count == nth:
            method(argument[:len(argument) // 2] if call == "write" else argument)
            raise KeyboardInterrupt
        return method(argument)

    patch.setattr(transport, call, interrupted)


def test_a_run_that_is_not_read_to_its_end(device, server, image):
    device.load(image)
    whole = digests(device.run([1], 5, fresh=True))
    for result in device.run([1], 100_000):
        if result.cycles:
            break
    assert digests(device.run([1], 5, fresh=True)) == whole
    resets = server.emulator.resets
    results = device.run([1], 1)
    next(results)
    results.close()                         # that was the last one: nothing has to be stopped
    assert digests(device.run([1], 5, fresh=True)) == whole
    assert server.emulator.resets == resets


def test_closing_in_a_run_stops_the_device(server, image):
    device = Device.open(server.uri)
    device.load(image)
    results = device.run([1], 100_000)
    next(results)
    resets = server.emulator.resets
    device.close()
    with Device.open(server.uri) as device:
        assert server.emulator.resets == resets + 2     # one to stop, one to open
        assert device.load(image) == 0


class Muted(InProcessTransport):
    """A device that a test can make fall silent for ever, while its port takes everything."""

    mute = False

    def read(self, timeout):
        if not self.mute:
            return super().read(timeout)
        self._now += timeout + 1e-3
        return b""


def test_closing_ends_though_the_device_says_nothing_more(image):
    cable = Muted(Emulator(CONFIG, FakeModel(image, CONFIG)))
    device = Device(cable)
    device.load(image)
    results = device.run([1], 1000)
    next(results)
    cable.mute = True
    began = cable.now()
    device.close()
    assert cable.now() - began <= STOP_SECONDS + 0.2
    results.close()


def test_stop(device, server, image):
    device.load(image)
    resets = server.emulator.resets
    device.stop()
    device.stop()
    assert server.emulator.resets == resets + 2
    assert len(list(device.run([1], 3))) == 3


# Recordings.

def test_a_recorded_session_repeats(server, image, tmp_path):
    path = tmp_path / "session.txt"

    def session(device):
        with device:
            device.load(image)
            results = digests(device.run([1, 2, 3], 20, fresh=True))
            return results, device.save_state().tolist(), device.records(), device.counters()

    expected = session(Device.open(server.uri, record=path))
    replay = ReplayTransport(path)
    assert session(Device(replay)) == expected
    assert replay.finished


def test_another_session_does_not_repeat(server, image, tmp_path):
    path = tmp_path / "session.txt"
    with Device.open(server.uri, record=path) as device:
        device.load(image)
        list(device.run([1], 2))
    with Device(ReplayTransport(path)) as device:
        device.load(image)
        with pytest.raises(DeviceError, match="does not repeat: what the host wrote differs"):
            list(device.run([2], 2))
