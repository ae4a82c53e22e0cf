"""Where the states of conversations are: in a lane's slot, on a shelf of the memory, or here."""

import random

import pytest

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.engines import Work
from tritstream.engines.board import DeviceEngine
from tritstream.engines.golden import GoldenEngine
from tritstream.engines.lanes import LanesEngine
from tritstream.errors import DeviceError
from tritstream.formats import UNIT
from tritstream.image.needs import Needs
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_sim.twin.emulator import Emulator
from tritstream_sim.twin.golden_board import GoldenBoard
from tritstream_sim.twin.in_process import InProcessTransport

SHAPE = ModelConfig(hidden=64, intermediate=64, layers=4, vocab=41, bos=0, eos=None)
STATE = 4 * SHAPE.layers * SHAPE.hidden         # bytes of a state
TURN = 500                                      # of a turn, most bytes that the link carries


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return pack(DummyCheckpoint(SHAPE, seed=4), tmp_path_factory.mktemp("models") / "slots.trit")


class Counted(InProcessTransport):
    """Counts the bytes that it carries."""

    carried = 0

    def write(self, data):
        self.carried += len(data)
        return super().write(data)

    def read(self, *arguments):
        data = super().read(*arguments)
        self.carried += len(data or b"")
        return data


class Board:
    """An emulated board with room for some states behind the image, and its engine."""

    def __init__(self, image, *, lanes: int, shelves: int, spare: int = 0):
        needs = Needs.of(image)
        build = BuildConfig(max_hidden=64, max_intermediate=64, max_state=256, max_vocab=64,
                            lanes=lanes, memory_bytes=needs.memory_bytes + shelves * STATE + spare)
        self.emulator = Emulator(build, GoldenBoard(image, build))
        self.cable = Counted(self.emulator)
        self.device = Device(self.cable)
        self.to_host = []           # shelves and slots whose states have gone here
        kind = DeviceEngine if lanes == 1 else LanesEngine
        self.engine = kind(self.device, image, simulated=True)
        save = self.device.save_state
        self.device.save_state = lambda **place: self.to_host.append(place) or save(**place)


def take_turns(engine, twin, count, rng, turns, width):
    """Let conversations take tokens, some in each turn, beside golden's; yield after each turn."""
    there, alone = ([one.open() for _ in range(count)] for one in (engine, twin))
    for turn in range(turns):
        chosen = (range(turn * width, (turn + 1) * width) if turn * width < count
                  else rng.sample(range(count), min(width, count)))
        works = [(number % count, rng.randrange(SHAPE.vocab)) for number in chosen]
        works = list(dict(works).items())
        found = engine.step([Work(there[number], [token]) for number, token in works])
        wanted = [alone[number].step(token) for number, token in works]
        assert [one.digest for one in found] == [one.digest for one in wanted]
        yield turn


@pytest.mark.parametrize("lanes", [1, 3])
def test_states_stay_on_the_board(image, lanes, seed):
    """Of as many conversations as it has slots: none of their states comes over the link."""
    board = Board(image, lanes=lanes, shelves=6, spare=UNIT)
    assert board.device.shelves == 6
    assert board.engine.slots == lanes + 5
    rng, before, most = random.Random(seed), 0, 0
    for turn in take_turns(board.engine, GoldenEngine(image), board.engine.slots, rng, 20, lanes):
        if turn > 1:            # the model has been loaded
            most = max(most, board.cable.carried - before)
        before = board.cable.carried
    print(f"{most} bytes a turn of {lanes}, of which a state has {STATE}")
    assert most <= TURN * lanes < STATE * lanes
    assert not board.to_host


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("shelves", [0, 1, 2])
def test_those_of_more_conversations_go_to_the_host(image, lanes, shelves, seed):
    board = Board(image, lanes=lanes, shelves=shelves)
    count = board.engine.slots + 2
    for _ in take_turns(board.engine, GoldenEngine(image), count, random.Random(seed), 20, lanes):
        pass
    assert board.to_host


@pytest.mark.parametrize("lanes, shelves", [(1, 0), (1, 4), (3, 0), (3, 3)])
def test_conversations_that_come_and_go(image, lanes, shelves, seed):
    """They take turns, fork, are saved and opened again, and leave, in any mix."""
    engine, twin = Board(image, lanes=lanes, shelves=shelves).engine, GoldenEngine(image)
    rng, pairs = random.Random(seed), []
    for turn in range(14):
        kind = rng.choice(("open", "fork", "open again", "close")) if turn > 4 else "open"
        if kind == "open":
            pairs.append((engine.open(), twin.open()))
        elif kind == "fork":
            one, other = rng.choice(pairs)
            pairs.append((one.fork(), other.fork()))
        else:
            one, other = pairs.pop(rng.randrange(len(pairs)))
            if kind == "open again":
                pairs.append((engine.open(one.save()), twin.open(other.save())))
            one.close(), other.close()
        works = [(pair, [rng.randrange(SHAPE.vocab) for _ in range(rng.randrange(1, 4))])
                 for pair in rng.sample(pairs, min(len(pairs), rng.randrange(1, 5)))]
        found = engine.step([Work(one, tokens) for (one, _), tokens in works])
        for (_, other), tokens in works:
            other.feed(tokens[:-1])
        assert [one.digest for one in found] == [
            other.step(tokens[-1]).digest for (_, other), tokens in works]


def test_one_that_the_host_has_makes_way(image):
    """And comes back from there; nothing else does."""
    board = Board(image, lanes=1, shelves=2)
    twin = GoldenEngine(image)
    there, alone = ([one.open() for _ in range(4)] for one in (board.engine, twin))
    for one, other in zip(there, alone, strict=True):
        assert one.step(5).digest == other.step(5).digest
        if one is there[0]:
            one.save()
            board.to_host.clear()
    assert not board.to_host
    for one, other in zip(there, alone, strict=True):
        assert one.step(7).digest == other.step(7).digest


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_fork_stays_on_the_board(image, lanes):
    board = Board(image, lanes=lanes, shelves=6)
    twin = GoldenEngine(image)
    one, other = board.engine.open(), twin.open()
    fresh = one.fork(), other.fork()
    one.feed([3, 4, 5]), other.feed([3, 4, 5])
    forks = [(one.fork(), other.fork()) for _ in range(3)]
    for number, (found, wanted) in enumerate([(one, other), fresh, *forks]):
        assert found.tokens == wanted.tokens
        assert found.step(number).digest == wanted.step(number).digest
    assert not board.to_host
    assert [fork.tokens for fork, _ in forks] == [(3, 4, 5, n) for n in (2, 3, 4)]


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_state_that_the_board_has_lost(image, lanes):
    """Is not gone on from: it is said, and made again of what the host knows."""
    board = Board(image, lanes=lanes, shelves=6)
    twin = GoldenEngine(image)
    there, alone = ([one.open() for _ in range(lanes + 2)] for one in (board.engine, twin))
    for one, other in zip(there, alone, strict=True):
        one.feed([9, 2]), other.feed([9, 2])
    start = len(board.emulator.memory) - 6 * STATE
    board.emulator.memory[start:] = bytes(6 * STATE)
    with pytest.raises(DeviceError, match="does not hold the state that was kept there"):
        there[0].step(5)
    for one, other in zip(there, alone, strict=True):
        if one is there[1]:
            with pytest.raises(DeviceError, match="does not hold the state"):
                one.step(5)
        assert one.step(5).digest == other.step(5).digest


def fail_once(device, name):
    """Let the next call of a method end as if the cable had been pulled."""
    right = getattr(device, name)

    def fails(*arguments, **place):
        setattr(device, name, right)
        device.stop()
        raise DeviceError("The cable was pulled.")

    setattr(device, name, fails)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_board_that_is_stopped_keeps_its_states(image, lanes):
    """RESET leaves slots and memory as they are; a call that failed has lost its own alone."""
    board = Board(image, lanes=lanes, shelves=6)
    twin = GoldenEngine(image)
    there, alone = ([one.open() for _ in range(lanes + 3)] for one in (board.engine, twin))
    for one, other in zip(there, alone, strict=True):
        one.feed([9, 2]), other.feed([9, 2])
    board.device.stop()
    for code in ("keep_state", "recall_state"):
        fail_once(board.device, code)
        with pytest.raises(DeviceError, match="was pulled"):
            for one in there:
                one.save()
        for one, other in zip(there, alone, strict=True):
            assert one.step(5).digest == other.step(5).digest


def test_closed_conversations_leave_their_shelves(image):
    board = Board(image, lanes=1, shelves=3)
    twin = GoldenEngine(image)
    for turn in range(8):
        for _ in range(2):
            with board.engine.open() as one:
                assert one.step(turn).digest == twin.open().step(turn).digest
    assert not board.to_host


def test_rows_and_states_share_what_the_tape_leaves(image):
    """Of a memory that has no room for all embedding rows."""
    needs = Needs.of(image)
    room = needs.least_memory() + 4 * STATE
    assert room < needs.memory_bytes
    assert needs.states_beside(room) == 1
    board = Board(image, lanes=1, shelves=0)
    assert board.device.shelves == 0 and board.engine.slots == 1
    build = BuildConfig(max_hidden=64, max_intermediate=64, max_state=256, max_vocab=64,
                        memory_bytes=room)
    device = Device(InProcessTransport(Emulator(build, GoldenBoard(image, build))))
    engine, twin = DeviceEngine(device, image, simulated=True), GoldenEngine(image)
    assert device.shelves == 1 and not device.goes_on_alone
    for _ in take_turns(engine, twin, 3, random.Random(1), 30, 1):
        pass
