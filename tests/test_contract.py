"""Every engine of this computer, and both boards, held to the contract of engines.

The cases are in `tritstream_sim.twin.engine_contract`; `tests/train` and `tests/gpu` run them on a
GPU's engine.
"""

import functools

import pytest

from tritstream.build import BuildConfig
from tritstream.catalog import Model
from tritstream.driver import Device
from tritstream.engines import open_engine
from tritstream.engines.board import DeviceEngine
from tritstream.engines.lanes import LanesEngine
from tritstream.link.endpoint import LinkOptions
from tritstream.transport import Faults, FaultyTransport, open_transport
from tritstream_sim.board import Board, board_config
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.engine_contract import CASES, LENGTH, contract_model
from tritstream_sim.twin.golden_board import GoldenBoard

EMULATED_BOARDS = {"emulated": {"memory_bytes": 1 << 16}, "emulated-streamed": {},
                   "emulated-lanes": {"memory_bytes": 1 << 16, "lanes": 3},
                   "emulated-streamed-lanes": {"lanes": 2},
                   # Of 41 embedding rows, two and three have room.
                   "emulated-rows": {"memory_bytes": 6720 + 2 * 64},
                   "emulated-rows-lanes": {"memory_bytes": 6720 + 3 * 64, "lanes": 3}}
ENGINES = ["golden", "float", *EMULATED_BOARDS,
           pytest.param("sim", marks=pytest.mark.verilator)]
EMULATED = functools.partial(BuildConfig, max_hidden=64, max_intermediate=64, max_state=128,
                             max_vocab=64)
FAULTS = Faults(drop=1e-4, flip=1e-4, duplicate=1e-4, cut=2e-5)
RETRY_SECONDS = 0.02        # the links lose something every few kilobytes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model("contract", contract_model(tmp_path_factory.mktemp("model")).path)


@pytest.fixture(scope="module")
def emulated(model, request):
    """Emulated boards behind links that damage what they carry, by their names."""
    servers, seed = {}, request.config.getoption("seed")
    for name, parts in EMULATED_BOARDS.items():
        build = EMULATED(**parts)
        emulator = Emulator(build, GoldenBoard(model.image, build),
                            link=LinkOptions.for_device(retry_seconds=RETRY_SECONDS))
        servers[name] = Server(
            emulator, wrap=lambda transport: FaultyTransport(transport, FAULTS, seed=seed))
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(scope="module")
def board(request):
    cache = request.config.rootpath / "build" / "sim"
    with Board(board_config("p4", groups=3, lanes=4), cache=cache, latency=20,
               refresh=(640, 16)) as board:
        yield board


@pytest.fixture
def engine(request, model):
    name = request.param
    if name in ("golden", "float"):
        opened = open_engine(name, model)
    elif name == "sim":
        opened = open_engine(request.getfixturevalue("board").uri, model)
    else:
        transport = open_transport(request.getfixturevalue("emulated")[name].uri)
        transport.retry_seconds = RETRY_SECONDS
        board = LanesEngine if "lanes" in name else DeviceEngine
        device = Device(transport)
        opened = board(device, model.image, simulated=True)
        assert device.streamed == ("streamed" in name)
        assert device.goes_on_alone == (name in ("emulated", "emulated-lanes"))
    if name not in ("golden", "float"):
        opened.beyond = LENGTH          # passes that go by while a socket carries the word
    with opened:
        yield opened


@pytest.fixture
def twin(engine, model):
    with open_engine("float" if engine.name == "float" else "golden", model) as twin:
        yield twin


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case, engine, twin):
    case(engine, twin)
