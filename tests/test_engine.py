"""Engines: the same conversation on every device."""

import dataclasses
import importlib.metadata

import pytest

from tritstream.analysis.verify import verify
from tritstream.build import BuildConfig
from tritstream.catalog import Model
from tritstream.driver import Device
from tritstream.engines import open_engine
from tritstream.engines.board import DeviceEngine
from tritstream.engines.pace import Pace
from tritstream.engines.places import Places
from tritstream.errors import BadInput, DeviceError, MissingTool
from tritstream.golden import GoldenModel, chain
from tritstream.image.pack import pack
from tritstream.link.messages import Identity
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.runtime.generate import Generation
from tritstream.runtime.sampling import Sampler
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import CYCLES, GoldenBoard

CONFIG = ModelConfig(hidden=32, intermediate=48, layers=2, vocab=300, bos=0, eos=1)
BUILD = BuildConfig(max_hidden=64, max_intermediate=64, max_state=128, max_vocab=512,
                    memory_bytes=1 << 17, clock_hz=1_000_000)
STREAMED = BuildConfig(max_hidden=64, max_intermediate=64, max_state=128, max_vocab=512)
PROMPT = [0, 17, 250, 33]
STAGES = 4 * CONFIG.layers + 2
GOLDEN_KINDS = ["golden", "board", "streamed"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return pack(DummyCheckpoint(CONFIG, seed=3), tmp_path_factory.mktemp("models") / "tiny.trit")


@pytest.fixture
def model(image):
    return Model("tiny", image.path)


@pytest.fixture
def served(image):
    """Make an emulated board of a build, with a fault if one is given; its address."""
    servers = []

    def serve(build=BUILD, fault=None):
        servers.append(Server(Emulator(build, GoldenBoard(image, build, fault))))
        return servers[-1].uri

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def engine_of(model, served):
    """Open the engine of a kind; boards are emulated."""
    engines = []

    def opened(kind):
        uri = {"board": served, "streamed": lambda: served(STREAMED)}.get(kind, lambda: kind)()
        engines.append(open_engine(uri, model))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.close()


def greedy(engine, count=6):
    conversation = engine.open()
    conversation.feed(PROMPT[:-1])
    return list(conversation.run(PROMPT[-1], count))


def test_places_of_conversations_that_are_gone():
    """None is lost, also where another object has got the identity of one that is gone."""
    class Talk:
        closed = False

    places = Places(3)
    for _ in range(50):
        talks = [Talk() for _ in range(3)]
        for talk in talks:
            assert places.oldest() is None
            places.take(talk)
        assert sorted(places.find(talk) for talk in talks) == [0, 1, 2]
        del talk, talks
        for _ in range(2):
            assert places.oldest() is None
            places.take(Talk())


def test_digest_is_the_chain_of_all_vectors_in_order(engine_of, image):
    """Token by token, and within a token stage by stage, however many are fed together."""
    model, digest = GoldenModel(image), 0
    state = model.new_state()
    for token in PROMPT:
        vectors = []
        model.forward([[token]], state, stages=image.body_stages,
                      observe=lambda stage, vector, kept=vectors: kept.append(vector[0, 0]))
        assert len(vectors) == STAGES - 1
        for vector in vectors:
            digest = chain(vector, digest)
    conversation = engine_of("golden").open()
    assert conversation.feed(PROMPT)[-1].digest == conversation.digest == digest


# Time.

def test_a_simulated_board_tells_time_in_cycles(engine_of):
    engine = engine_of("board")
    assert engine.evidence == "simulated"
    began = engine.seconds
    engine.open().feed(PROMPT)
    stages = len(PROMPT) * (STAGES - 1)
    assert engine.cycles == stages * CYCLES
    assert engine.stalls == stages * CYCLES // 10
    assert engine.seconds - began == pytest.approx(stages * CYCLES / BUILD.clock_hz)


def test_timings_of_a_generation(engine_of):
    engine = engine_of("board")
    generation = Generation(engine.open(), engine, PROMPT, 5, Sampler())
    list(generation)
    timings = generation.timings
    first = 3 * (STAGES - 1) + STAGES
    assert timings.prompt_tokens == 4 and timings.generated_tokens == 5
    assert timings.prompt_seconds == pytest.approx(first * CYCLES / BUILD.clock_hz)
    assert timings.generated_seconds == pytest.approx(4 * STAGES * CYCLES / BUILD.clock_hz)
    assert timings.rate == pytest.approx(4 / timings.generated_seconds)
    assert timings.cycles == (first + 4 * STAGES) * CYCLES
    assert timings.to_json()["evidence"] == "simulated"
    golden = engine_of("golden")
    timings = Generation(golden.open(), golden, PROMPT, 5, Sampler()).timings
    assert "cycles" not in timings.to_json()


@pytest.mark.parametrize("kind", ["float", "golden"])
def test_this_computer_tells_time_by_its_clock(engine_of, kind):
    engine = engine_of(kind)
    assert engine.evidence == "measured" and engine.clock_hz is None and engine.cycles is None
    began = engine.seconds
    engine.open().step(1)
    assert engine.seconds > began


# Generation.

@pytest.mark.parametrize("kind", GOLDEN_KINDS[1:])
@pytest.mark.parametrize("options", [{}, dict(temperature=1.0), dict(temperature=3.0, top_k=5),
                                     dict(temperature=2.0, top_p=0.7)])
def test_the_same_seed_gives_the_same_text(engine_of, seed, kind, options):
    texts = []
    for each in ("golden", kind):
        engine = engine_of(each)
        generation = Generation(engine.open(), engine, PROMPT, 8, Sampler(seed=seed, **options))
        for count, _ in enumerate(generation, 1):
            assert len(generation.tokens) == count
        texts.append((generation.tokens, generation.digest))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("prompt, count, sentence", [
    ([], 1, "prompt is empty"), ([1], 0, "at least 1, not 0")])
def test_nothing_to_generate(engine_of, prompt, count, sentence):
    engine = engine_of("golden")
    with pytest.raises(BadInput, match=sentence):
        Generation(engine.open(), engine, prompt, count, Sampler())


# Verification.

@pytest.mark.parametrize("kind", GOLDEN_KINDS)
def test_verification_of_an_equal_device(engine_of, image, kind):
    steps = []
    result = verify(engine_of(kind), image, PROMPT, 5,
                    lambda done, total: steps.append((done, total)))
    assert result.equal
    assert result.passes == 8 and result.stages == 8 * STAGES - 3
    assert steps[-1] == (8, 8)
    passes = greedy(engine_of("golden"), 5)
    assert list(result.tokens) == [each.candidates.best for each in passes]
    assert result.digest == passes[-1].digest


class Fault:
    """Adds one to an element of a stage in the pass at a position, as often as is said."""

    def __init__(self, position, stage, element, times=1000):
        self.place = (position, stage)
        self.element = element
        self.times = times

    def __call__(self, position, stage, vector):
        if (position, stage) != self.place or not self.times:
            return vector
        self.times -= 1
        vector = vector.copy()
        vector[self.element] += 1
        return vector


@pytest.mark.parametrize("stage, layer, name, element", [
    (0, None, "embed", 31), (1, 0, "layers.0.mlgru", 3), (2, 0, "layers.0.o", 0),
    (3, 0, "layers.0.glu", 47), (8, 1, "layers.1.down", 5), (9, None, "head", 299)])
@pytest.mark.parametrize("build", [BUILD, STREAMED])
def test_a_difference_is_named(model, served, image, build, stage, layer, name, element):
    uri = served(build, Fault(5, stage, element))
    with open_engine(uri, model) as engine:
        result = verify(engine, image, PROMPT, 6)
    found = result.difference
    assert not result.equal
    assert (found.stage, found.layer, found.element) == (name, layer, element)
    assert found.token == 5
    assert found.actual == found.expected + 1
    assert f"stage {name}, element {element}: golden {found.expected}, device " in found.sentence()


def test_a_difference_in_the_prompt(model, served, image):
    with open_engine(served(BUILD, Fault(1, 4, 7)), model) as engine:
        found = verify(engine, image, PROMPT, 2).difference
    assert (found.token, found.stage, found.element) == (1, "layers.0.down", 7)


def test_a_difference_that_does_not_come_again(model, served, image):
    with open_engine(served(BUILD, Fault(1, 4, 7, times=1)), model) as engine:
        found = verify(engine, image, PROMPT, 2).difference
    assert found.token == 1 and found.stage is None
    assert "differed once and not when it was repeated" in found.sentence()


# Names of devices.

@pytest.mark.parametrize("uri", ["gpu", "", "serial:", "tcp:", "tcp:here", "golden:x"])
def test_devices_that_do_not_exist(model, uri):
    with pytest.raises(BadInput, match="serial|tcp"):
        open_engine(uri, model)


def test_devices_that_are_absent(model):
    with pytest.raises(DeviceError, match="No device answers at tcp:127.0.0.1:1 "):
        open_engine("tcp:127.0.0.1:1", model)
    with pytest.raises(DeviceError, match="/dev/absent cannot be opened"):
        open_engine("serial:/dev/absent", model)


def test_a_simulator_that_is_not_installed(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tritstream_sim.board", None)
    with pytest.raises(MissingTool, match=r"pip install 'tritstream\[sim\]'"):
        open_engine("sim", model)


def test_a_serial_board_is_timed_by_the_clock(model, served, image):
    with DeviceEngine(Device.open(served()), image, simulated=False) as engine:
        assert engine.evidence == "measured"
        began = engine.seconds
        engine.open().step(1)
        assert engine.seconds > began and engine.cycles == STAGES * CYCLES


# Devices that lie.

class Liar(Emulator):
    """Changes what it answers to a pass."""

    def __init__(self, image, **changes):
        super().__init__(BUILD, GoldenBoard(image, BUILD))
        self._changes = changes

    def _send_answer(self, results):
        super()._send_answer([dataclasses.replace(result, **self._changes) for result in results])


@pytest.mark.parametrize("changes, sentence", [
    ({"last": True}, "ended behind pass 1 of 5"),
    ({"candidates": ((300, 5),)}, "named token 300, and this model has tokens 0 to 299"),
    ({"candidates": ((2, 5),) * 2}, "gave 2 candidates behind token 33, of 1 at most"),
    ({"candidates": ()}, "gave no next token behind token 33"),
    ({"candidates": ((1, 5),)}, "went on behind pass 1 of 5"),
])
def test_answers_that_cannot_be(model, image, changes, sentence):
    with Server(Liar(image, **changes)) as server, open_engine(server.uri, model) as engine:
        with pytest.raises(DeviceError, match=sentence) as error:
            list(engine.open().run(33, 5))
        assert error.value.exit_code == 4 and isinstance(error.value, OSError)


@pytest.mark.parametrize("count, call, most", [
    (1, lambda conversation: conversation.feed([33]), 0),
    (17, lambda conversation: conversation.step(33), 16),
])
def test_candidates_that_are_too_many(model, image, count, call, most):
    liar = Liar(image, candidates=((2, 5),) * count)
    with Server(liar) as server, open_engine(server.uri, model) as engine:
        with pytest.raises(DeviceError,
                           match=f"gave {count} candidates behind token 33, of {most} at most"):
            call(engine.open())


@pytest.mark.parametrize("changes", [{"candidates": 0}, {"clock_hz": 0}])
def test_identities_that_cannot_be(model, image, changes):
    identity = dataclasses.replace(Identity.of(BUILD), **changes)
    with Server(Emulator(BUILD, GoldenBoard(image, BUILD), identity=identity)) as server:
        with pytest.raises(DeviceError, match="candidates and a clock of .* can be 0"):
            open_engine(server.uri, model)


# Engines of other packages, and options.

def test_an_engine_joins_by_its_entry_point(model, monkeypatch):
    def found(*, group):
        assert group == "tritstream.engines"
        return [entry]

    class Entry:
        name = "other"
        dist = None

        @staticmethod
        def load():
            return lambda address, opened, progress: (address.text, opened.name)

    entry = Entry
    monkeypatch.setattr(importlib.metadata, "entry_points", found)
    assert open_engine("other:5", model) == ("other:5", "tiny")

    class Absent(Entry):
        @staticmethod
        def load():
            raise ImportError("no torch")

    entry = Absent
    with pytest.raises(MissingTool, match=r"other needs is not installed \(no torch\): "
                                          r".*'tritstream\[other\]'"):
        open_engine("other", model)


@pytest.mark.parametrize("uri", ["golden", "tcp:127.0.0.1:1"])
def test_options_that_a_device_has_not(model, uri):
    with pytest.raises(BadInput, match=f"{uri} has no option speed"):
        open_engine(uri, model, speed=5)


def test_states_that_have_a_long_way_stay_longer(monkeypatch):
    """As many steps as make their ways a twentieth of the time, within bounds."""
    now = [0.0]
    monkeypatch.setattr("tritstream.engines.pace.time.perf_counter", lambda: now[0])
    pace = Pace(lanes=4)

    def step(seconds: float, *moves: float) -> int:
        with pace.step():
            for each in moves:
                with pace.move():
                    now[0] += each
            now[0] += seconds
        return pace.quantum

    assert step(0.5) == step(0.5) == 16, "nothing has gone anywhere"
    assert step(0.5, 0.25, 0.25) == 2 * 4 * 0.25 / 0.5 * 20
    for _ in range(100):
        step(0.5, *[2.0 ** -9] * 8)
    assert pace.quantum == 1, "what was long ago does not count any more"
    for _ in range(100):
        step(2.0 ** -9, *[1.0] * 8)
    assert pace.quantum == 1024
