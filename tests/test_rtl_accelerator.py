"""The whole accelerator in Verilator, for narrow and wide beats."""

import pytest

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator


@pytest.mark.verilator
@pytest.mark.parametrize("beat_bytes, vector_width, element_width, lanes, widest",
                         [(1, 1, 1, 1, 32), (4, 2, 2, 4, 64), (16, 8, 1, 2, 64), (64, 4, 4, 1, 64)])
def test_accelerator(simulate, beat_bytes, vector_width, element_width, lanes, widest):
    config = BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width,
                         element_width=element_width, lanes=lanes, candidates=5, max_hidden=widest,
                         max_intermediate=2 * widest, max_vocab=4 * widest, max_state=256,
                         max_stages=32)
    benches = ["accelerator"] if lanes == 1 else ["accelerator", "together"]
    simulate(Accelerator(config), [f"tritstream_sim.benches.{name}" for name in benches],
             config=config)
