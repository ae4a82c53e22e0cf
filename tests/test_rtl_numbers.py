"""Statistics, scalar unit, quantiser and memories, in Verilator."""

import pytest

from tritstream_sim.benches.norm import quantiser, scalars, statistics, tokens
from tritstream_sim.benches.tape import banks

pytestmark = pytest.mark.verilator


def test_statistics(simulate):
    simulate(statistics.components(), "tritstream_sim.benches.norm.statistics")


def test_scalars(simulate):
    simulate(scalars.components() | tokens.components(),
             [f"tritstream_sim.benches.norm.{name}" for name in ("scalars", "tokens")])


def test_quantiser(simulate):
    simulate(quantiser.components(), "tritstream_sim.benches.norm.quantiser")


def test_banks(simulate):
    simulate(banks.components(), "tritstream_sim.benches.tape.banks")
