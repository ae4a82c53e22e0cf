"""Options of a run, and the fixtures that hand them to the simulator."""

import functools
import re
import signal
import time

import pytest

CACHE = "build/sim"
RUNS = f"{CACHE}/runs"
pytest.register_assert_rewrite("tritstream_sim.twin.engine_contract")

STARTED = pytest.StashKey[float]()


def pytest_addoption(parser):
    group = parser.getgroup("tritstream")
    group.addoption("--seed", type=int, default=1, help="of everything random in the benches")
    group.addoption("--waves", action="store_true", help=f"record FST files under {RUNS}")


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
