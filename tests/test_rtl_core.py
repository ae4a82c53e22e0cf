"""The decoder of trits and the core, in Amaranth's simulator and in Verilator."""

import pytest
from amaranth.sim import Simulator

from tritstream.build import BuildConfig
from tritstream.image import trits
from tritstream_hw.construct import construct
from tritstream_hw.gemv.core import TernaryCore
from tritstream_hw.gemv.trit import TritDecoder


def test_decoder_equals_the_table_for_all_codes():
    dut = TritDecoder()
    wrong = []

    async def testbench(ctx):
        for byte in range(256):
            if trits.VALID[byte]:
                ctx.set(dut.code, byte)
                got = [(1 - 2 * t.neg) * t.nonzero for t in ctx.get(dut.trits)]
                if got != trits.DECODE[byte].tolist() or any(
                        t.neg and not t.nonzero for t in ctx.get(dut.trits)):
                    wrong.append((byte, got))

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()
    assert not wrong
    assert trits.VALID.sum() == 243


@pytest.mark.verilator
@pytest.mark.parametrize("beat_bytes, lanes, groups",
                         [(1, 1, 1), (4, 3, 3), (16, 2, 1), (64, 1, 1)])
def test_core(simulate, beat_bytes, lanes, groups):
    config = BuildConfig(beat_bytes=beat_bytes, vector_width=1, lanes=lanes, groups=groups,
                         max_hidden=128, max_intermediate=128)
    simulate(construct(TernaryCore, config), "tritstream_sim.benches.gemv.core", config=config)
