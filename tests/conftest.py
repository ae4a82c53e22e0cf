"""Options of a run, the fixtures that hand them to the simulator, and a server in a thread."""

import contextlib
import functools
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

# Tests run side by side, and threads that share a product would mostly wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CACHE = "build/sim"
RUNS = f"{CACHE}/runs"
pytest.register_assert_rewrite("tritstream_sim.twin.engine_contract")

TEMPLATE = ("{{ bos_token }}{% for message in messages %}[{{ message.role }}] "
            "{{ message.content }}{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
            "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}")

STARTED = pytest.StashKey[float]()


def pytest_addoption(parser):
    group = parser.getgroup("tritstream")
    group.addoption("--seed", type=int, default=1, help="of everything random in the benches")
    group.addoption("--builds", type=int, default=2, help="of the accelerator that are drawn")
    group.addoption("--waves", action="store_true", help=f"record FST files under {RUNS}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Half as many again as processors: tests wait for processes, for links and for each other."""
    return 3 * os.cpu_count() // 2


def pytest_generate_tests(metafunc):
    if "build_number" in metafunc.fixturenames:
        metafunc.parametrize("build_number", range(metafunc.config.getoption("builds")))


def pytest_report_header(config):
    return f"seed: {config.getoption('seed')}"


def pytest_sessionstart(session):
    session.config.stash[STARTED] = time.time()
    # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter, config):
    recorded = [path for path in sorted((config.rootpath / RUNS).glob("*/dump.fst"))
                if path.stat().st_mtime >= config.stash[STARTED]]
    if recorded:
        terminalreporter.section("waves; open one with `gtkwave FILE` or `surfer FILE`")
    for path in recorded:
        terminalreporter.write_line(str(path.relative_to(config.rootpath)))


@pytest.fixture
def seed(request) -> int:
    """Seed of this run, given with ``--seed``."""
    return request.config.getoption("seed")


@pytest.fixture
def simulate(request, seed):
    """The runner's `simulate` with this run's seed, waves and directories filled in."""
    from tritstream_sim.verilate import runner

    root = request.config.rootpath
    run = re.sub(r"[^\w.=-]+", "_", f"{request.module.__name__}-{request.node.name}")
    return functools.partial(runner.simulate, cache=root / CACHE, directory=root / RUNS / run,
                             seed=seed, waves=request.config.getoption("waves"))


@contextlib.contextmanager
def _serving(directory, *models, key=None, origins=(), send_buffer=None):
    import uvicorn

    from tritstream.server.app import application
    from tritstream.server.connection import Connection
    from tritstream.server.residence import Residence
    from tritstream.server.store import Store

    opened = {model.source: model for model in models}
    with (Residence(list(opened), lambda source: contextlib.nullcontext(opened[source])) as
          residence,
          Store(directory, residence.served.values()) as store, contextlib.closing(residence),
          socket.create_server(("127.0.0.1", 0), backlog=1024) as listener):
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        server = uvicorn.Server(uvicorn.Config(
            application(residence, store, key=key, origins=origins), http=Connection, ws="none",
            log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1], residence.here.scheduler
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def serving():
    """What serves open models in a thread.

    ``with serving(directory, model, …, key=, origins=, send_buffer=) as (port, scheduler)``
    """
    return _serving


@pytest.fixture(scope="module")
def model():
    """`tiny` on the golden model."""
    import tritstream

    with tritstream.load("tiny") as model:
        yield model


@pytest.fixture(scope="module")
def served(model, serving, tmp_path_factory):
    """The port and the scheduler of a server of `model`."""
    with serving(tmp_path_factory.mktemp("conversations"), model) as (port, scheduler):
        yield port, scheduler


@pytest.fixture(scope="session")
def chat_image(tmp_path_factory):
    """Image of a little model with the chat template `TEMPLATE`."""
    from tritstream.image.pack import pack
    from tritstream.model.checkpoint import Checkpoint
    from tritstream.model.config import ModelConfig
    from tritstream.model.dummy import TOKENIZER_VOCAB, DummyCheckpoint, byte_tokenizer

    directory = tmp_path_factory.mktemp("chat")
    config = ModelConfig(hidden=20, intermediate=28, layers=2, vocab=TOKENIZER_VOCAB, bos=0, eos=1)
    DummyCheckpoint(config, 3).save(directory)
    byte_tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "chat_template": TEMPLATE, "bos_token": "<s>", "eos_token": "</s>"}))
    pack(Checkpoint.open(directory), directory / "tiny.trit")
    return directory / "tiny.trit"
