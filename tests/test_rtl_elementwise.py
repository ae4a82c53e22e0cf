"""The element-wise datapath in Verilator."""

import pytest

from tritstream_sim.benches.elements import elementwise

BENCHES = ["multiply", "sigmoid", "dequantise", "residual", "mixer"]


@pytest.mark.verilator
def test_elementwise(simulate):
    simulate(elementwise.DEVICES,
             [f"tritstream_sim.benches.elements.{name}" for name in BENCHES])
