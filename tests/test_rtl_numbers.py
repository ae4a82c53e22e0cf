"""Statistics, scalar unit, quantiser and memories, in Verilator."""

import pytest

from tritstream_sim.benches import scalars, statistics

pytestmark = pytest.mark.verilator


def test_statistics(simulate):
    simulate(statistics.components(), "tritstream_sim.benches.statistics")


def test_scalars(simulate):
    simulate(scalars.component(), "tritstream_sim.benches.scalars")
