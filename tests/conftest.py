"""Options of a run, and the fixtures that hand them to the simulator."""

import functools
import re

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("tritstream")
    group.addoption("--seed", type=int, default=1, help="of everything random in the benches")
    group.addoption("--waves", action="store_true", help="record FST files under build/sim/runs")


def pytest_report_header(config):
    return f"seed: {config.getoption('seed')}"


@pytest.fixture
def seed(request) -> int:
    """Seed of this run, given with ``--seed``."""
    return request.config.getoption("seed")


@pytest.fixture
def simulate(request, seed):
    """`tritstream_sim.runner.simulate` with this run's seed, waves and directories filled in."""
    from tritstream_sim import runner

    build = request.config.rootpath / "build" / "sim"
    run = re.sub(r"[^\w.=-]+", "_", f"{request.module.__name__}-{request.node.name}")
    directory = build / "runs" / run
    return functools.partial(runner.simulate, cache=build, directory=directory, seed=seed,
                             waves=request.config.getoption("waves"))
