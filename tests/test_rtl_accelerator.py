"""The whole accelerator in Verilator."""

import pytest

from tritstream_sim.benches import accelerator


@pytest.mark.verilator
def test_accelerator(simulate):
    simulate(accelerator.components(), "tritstream_sim.benches.accelerator")
