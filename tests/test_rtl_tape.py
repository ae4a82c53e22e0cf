"""The reader of the tape in Verilator."""

import pytest

from tritstream.build import BuildConfig
from tritstream_sim.benches.tape import tape


@pytest.mark.verilator
@pytest.mark.parametrize("element_width", [1, 4])
def test_tape(simulate, element_width):
    config = BuildConfig(beat_bytes=4, vector_width=4, element_width=element_width,
                         max_hidden=64, max_intermediate=100, max_vocab=256, max_state=256)
    simulate(tape.Reader(config), "tritstream_sim.benches.tape.tape", config=config)
