"""The whole accelerator in Verilator, for narrow and wide beats."""

import pytest

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator


@pytest.mark.verilator
@pytest.mark.parametrize("beat_bytes, vector_width, element_width, widest",
                         [(1, 1, 1, 32), (4, 2, 2, 64), (16, 8, 1, 64), (64, 4, 4, 64)])
def test_accelerator(simulate, beat_bytes, vector_width, element_width, widest):
    config = BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width,
                         element_width=element_width, candidates=5, max_hidden=widest,
                         max_intermediate=2 * widest, max_vocab=4 * widest, max_state=256,
                         max_stages=32)
    simulate(Accelerator(config), "tritstream_sim.benches.accelerator", config=config)
