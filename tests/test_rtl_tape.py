"""The reader of the tape in Verilator."""

import pytest

from tritstream.build import BuildConfig
from tritstream_sim.benches.tape import tape


@pytest.mark.verilator
def test_tape(simulate):
    config = BuildConfig(beat_bytes=4, vector_width=2, max_hidden=64, max_intermediate=100,
                         max_vocab=256, max_state=256)
    simulate(tape.Reader(config), "tritstream_sim.benches.tape.tape", config=config)
