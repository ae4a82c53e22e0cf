"""What ends a pass: the best logits, and the digest of everything computed, in Verilator."""

import pytest

from tritstream_hw.arithmetic.crc import Crc32
from tritstream_sim.benches.head import head, topk


@pytest.mark.verilator
def test_head_and_digest(simulate):
    dut = {**topk.components(), **head.components(), "digest": Crc32(data_bits=32),
           "digest_of_words": Crc32(data_bits=32, words=4)}
    simulate(dut, [f"tritstream_sim.benches.head.{name}" for name in ("topk", "head", "digest")])
