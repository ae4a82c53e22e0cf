"""The decoder of trits and the core, in Amaranth's simulator and in Verilator."""

import pytest
from amaranth.sim import Simulator

from tritstream import trits
from tritstream_hw.trit import TritDecoder
from tritstream_sim.benches import core
from tritstream_sim.several import Several


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
def test_core(simulate):
    simulate(Several(core.components()), "tritstream_sim.benches.core")
