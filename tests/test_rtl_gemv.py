"""The whole matrix-vector product in Verilator."""

import pytest

from tritstream.build import BuildConfig
from tritstream_sim.benches.gemv.gemv import GemvWithMemory


@pytest.mark.verilator
@pytest.mark.parametrize("beat_bytes, vector_width, element_width, lanes, groups, columns",
                         [(1, 1, 1, 1, 1, 192), (2, 2, 2, 1, 3, 192), (4, 2, 2, 4, 3, 192),
                          (16, 16, 1, 2, 1, 192), (8, 8, 8, 3, 1, 192), (64, 8, 4, 1, 1, 832)])
def test_gemv(simulate, beat_bytes, vector_width, element_width, lanes, groups, columns):
    # No vector is a power of two of beats.
    config = BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width,
                         element_width=element_width, lanes=lanes, groups=groups,
                         max_hidden=columns, max_intermediate=columns)
    simulate(GemvWithMemory(config), "tritstream_sim.benches.gemv.gemv", config=config)
