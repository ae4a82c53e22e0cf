"""What ends a pass: the best logits, and the digest of everything computed, in Verilator."""

import pytest

from tritstream_hw.arithmetic.crc import Crc32
from tritstream_sim.benches.head import topk


@pytest.mark.verilator
def test_topk_and_digest(simulate):
    dut = {**topk.components(), "digest": Crc32(data_bits=32)}
    simulate(dut, ["tritstream_sim.benches.head.topk", "tritstream_sim.benches.head.digest"])
