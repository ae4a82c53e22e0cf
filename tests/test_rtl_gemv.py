"""The whole matrix-vector product in Verilator."""

import pytest

from tritstream.build import BuildConfig
from tritstream_sim.benches.gemv.gemv import GemvWithMemory


@pytest.mark.verilator
@pytest.mark.parametrize("beat_bytes, elements, columns",
                         [(1, 1, 192), (4, 2, 192), (16, 16, 192), (64, 8, 832)])
def test_gemv(simulate, beat_bytes, elements, columns):
    # No vector is a power of two of beats.
    config = BuildConfig(beat_bytes=beat_bytes, elements=elements, max_hidden=columns,
                         max_intermediate=columns)
    simulate(GemvWithMemory(config), "tritstream_sim.benches.gemv.gemv", config=config)
