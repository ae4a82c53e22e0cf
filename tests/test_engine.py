"""Engines: the same conversation on every device."""

import numpy as np
import pytest

from tritstream.analysis.verify import verify
from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.engines import open_engine
from tritstream.engines.board import DeviceEngine
from tritstream.errors import BadInput, DeviceError, MissingTool
from tritstream.golden import GoldenModel, chain
from tritstream.image.pack import pack
from tritstream.model.catalog import Model
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
    engine.start()
    engine.feed(PROMPT[:-1])
    return list(engine.run(PROMPT[-1], count))


# The same on all.

@pytest.mark.parametrize("kind", GOLDEN_KINDS[1:])
def test_boards_do_what_golden_does(engine_of, kind):
    golden, board = engine_of("golden"), engine_of(kind)
    assert greedy(board) == greedy(golden)
    assert board.digest == golden.digest
    assert np.array_equal(board.logits([5, 6]), golden.logits([5, 6]))
    assert board.digest == golden.digest
    assert np.array_equal(board.save_state(), golden.save_state())


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
    engine = engine_of("golden")
    assert engine.feed(PROMPT)[-1].digest == engine.digest == digest


@pytest.mark.parametrize("kind", ["float", *GOLDEN_KINDS])
def test_feeding_is_stepping(engine_of, kind):
    engine = engine_of(kind)
    engine.feed(PROMPT[:-1])
    together = engine.step(PROMPT[-1])
    engine.start()
    for token in PROMPT[:-1]:
        engine.feed([token])
    assert engine.step(PROMPT[-1]).candidates.tokens == together.candidates.tokens
    assert engine.digest == together.digest


@pytest.mark.parametrize("kind", ["float", *GOLDEN_KINDS])
def test_candidates_are_the_best_logits(engine_of, kind):
    engine = engine_of(kind)
    row = engine.logits(PROMPT)[-1]
    assert row.dtype == np.float32 and row.shape == (CONFIG.vocab,)
    engine.start()
    engine.feed(PROMPT[:-1])
    best = engine.step(PROMPT[-1]).candidates
    assert len(best.tokens) == len(best.scores) == 16
    assert list(best.tokens) == np.argsort(-row, kind="stable")[:16].tolist()
    assert np.allclose(best.scores, row[list(best.tokens)], rtol=1e-6)


@pytest.mark.parametrize("kind", ["float", *GOLDEN_KINDS])
def test_state_is_saved_and_restored(engine_of, kind):
    engine = engine_of(kind)
    engine.feed(PROMPT)
    kept = engine.save_state()
    expected = engine.step(9).candidates
    engine.start()
    assert not engine.save_state().any()
    engine.restore_state(kept)
    assert np.array_equal(engine.save_state(), kept)
    assert engine.step(9).candidates == expected
    engine.start()
    assert engine.step(9).candidates != expected


@pytest.mark.parametrize("kind", GOLDEN_KINDS)
def test_restoring_leaves_the_digest_as_it_was(engine_of, kind):
    engine, golden = engine_of(kind), engine_of("golden")
    for each in (engine, golden):
        each.feed(PROMPT)
        state = each.save_state()
        each.start()
        each.restore_state(state)
        each.step(4)
        each.restore_state(state)
        each.step(5)
    assert engine.digest == golden.digest


@pytest.mark.parametrize("kind", ["float", *GOLDEN_KINDS])
def test_nothing_fed_is_nothing_done(engine_of, kind):
    engine = engine_of(kind)
    assert engine.feed([]) == []
    assert engine.logits([]).shape == (0, CONFIG.vocab)
    assert engine.digest == (None if kind == "float" else 0)


@pytest.mark.parametrize("kind", ["float", *GOLDEN_KINDS])
@pytest.mark.parametrize("token", [-1, CONFIG.vocab])
def test_tokens_out_of_range(engine_of, kind, token):
    engine = engine_of(kind)
    for call in (lambda: engine.feed([0, token]), lambda: engine.step(token),
                 lambda: engine.logits([token]), lambda: list(engine.run(token, 2))):
        with pytest.raises(BadInput, match=f"Token {token} .*0 to {CONFIG.vocab - 1}"):
            call()


@pytest.mark.parametrize("kind", GOLDEN_KINDS)
def test_a_run_ends_at_the_stop_token(engine_of, model, kind):
    wanted = [result.candidates.best for result in greedy(engine_of("golden"))]
    stop = wanted[3]
    model.image.meta["eos"] = stop
    found = [result.candidates.best for result in greedy(engine_of(kind))]
    assert found == wanted[:wanted.index(stop) + 1]


# Time.

def test_a_simulated_board_tells_time_in_cycles(engine_of):
    engine = engine_of("board")
    assert engine.evidence == "simulated"
    began = engine.seconds
    engine.feed(PROMPT)
    stages = len(PROMPT) * (STAGES - 1)
    assert engine.cycles == stages * CYCLES
    assert engine.stalls == stages * CYCLES // 10
    assert engine.seconds - began == pytest.approx(stages * CYCLES / BUILD.clock_hz)


def test_timings_of_a_generation(engine_of):
    engine = engine_of("board")
    generation = Generation(engine, PROMPT, 5, Sampler())
    generation.run()
    timings = generation.timings
    first = 3 * (STAGES - 1) + STAGES
    assert timings.prompt_tokens == 4 and timings.generated_tokens == 5
    assert timings.prompt_seconds == pytest.approx(first * CYCLES / BUILD.clock_hz)
    assert timings.generated_seconds == pytest.approx(4 * STAGES * CYCLES / BUILD.clock_hz)
    assert timings.rate == pytest.approx(4 / timings.generated_seconds)
    assert timings.cycles == (first + 4 * STAGES) * CYCLES
    assert timings.to_json()["evidence"] == "simulated"
    assert "cycles" not in Generation(engine_of("golden"), PROMPT, 5, Sampler()).timings.to_json()


@pytest.mark.parametrize("kind", ["float", "golden"])
def test_this_computer_tells_time_by_its_clock(engine_of, kind):
    engine = engine_of(kind)
    assert engine.evidence == "measured" and engine.clock_hz is None and engine.cycles is None
    began = engine.seconds
    engine.step(1)
    assert engine.seconds > began


# Generation.

@pytest.mark.parametrize("kind", GOLDEN_KINDS[1:])
@pytest.mark.parametrize("options", [{}, dict(temperature=1.0), dict(temperature=3.0, top_k=5),
                                     dict(temperature=2.0, top_p=0.7)])
def test_the_same_seed_gives_the_same_text(engine_of, seed, kind, options):
    texts = []
    for each in ("golden", kind):
        generation = Generation(engine_of(each), PROMPT, 8, Sampler(seed=seed, **options))
        shown = []
        generation.run(shown.append)
        assert shown == generation.tokens
        texts.append((generation.tokens, generation.digest))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("prompt, count, sentence", [
    ([], 1, "prompt is empty"), ([1], 0, "at least 1, not 0")])
def test_nothing_to_generate(engine_of, prompt, count, sentence):
    with pytest.raises(BadInput, match=sentence):
        Generation(engine_of("golden"), prompt, count, Sampler())


# Verification.

@pytest.mark.parametrize("kind", GOLDEN_KINDS)
def test_verification_of_an_equal_device(engine_of, image, kind):
    steps = []
    result = verify(engine_of(kind), image, PROMPT, 5,
                    lambda done, total: steps.append((done, total)))
    assert result.equal
    assert result.passes == 8 and result.stages == 8 * STAGES - 3
    assert steps[-1] == (8, 8)
    golden = engine_of("golden")
    assert list(result.tokens) == [each.candidates.best for each in greedy(golden, 5)]
    assert result.digest == golden.digest


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


def test_float_has_no_stages(engine_of, image):
    with pytest.raises(BadInput, match="float has no integer stages"):
        engine_of("float").stage_digests(PROMPT, head=True)
    with pytest.raises(BadInput, match="float has no integer stages"):
        engine_of("float").stage_vector(PROMPT, 0)


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
        engine.step(1)
        assert engine.seconds > began and engine.cycles == STAGES * CYCLES
