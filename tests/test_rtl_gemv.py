"""The whole matrix-vector product in Verilator."""

import pytest

from tritstream_sim.benches import gemv
from tritstream_sim.several import Several


@pytest.mark.verilator
def test_gemv(simulate):
    simulate(Several(gemv.components()), "tritstream_sim.benches.gemv")
