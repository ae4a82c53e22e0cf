"""`Buffer` in Amaranth's simulator, and its contract proved."""

import itertools

import pytest
from amaranth import *
from amaranth.hdl import Assume
from amaranth.lib import wiring
from amaranth.sim import Simulator

from tritstream_hw.stream.register import Buffer
from tritstream_sim.agents.contract import held_until_taken, prove


def run(offers, accepts, cycles):
    """Offer 0, 1, 2 … by one pattern and accept by another; return what came, and when."""
    dut, got = Buffer(8), []

    async def testbench(ctx):
        sent, pending = 0, False
        for cycle, offer, accept in zip(range(cycles), offers, accepts, strict=False):
            pending = pending or bool(offer)
            ctx.set(dut.i.valid, pending)
            ctx.set(dut.i.payload, sent)
            ctx.set(dut.o.ready, accept)
            _, _, taken, valid, payload = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload)
            if pending and taken:
                sent, pending = sent + 1, False
            if valid and accept:
                got.append((cycle, payload))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return got


PATTERNS = [[1], [1, 0], [0, 0, 1], [1, 1, 0, 1]]


@pytest.mark.parametrize("offers", PATTERNS)
@pytest.mark.parametrize("accepts", PATTERNS)
def test_nothing_is_lost_or_doubled(offers, accepts):
    got = run(itertools.cycle(offers), itertools.cycle(accepts), 80)
    assert [payload for _, payload in got] == list(range(len(got)))
    share = min(sum(offers) / len(offers), sum(accepts) / len(accepts))
    assert len(got) >= 80 * share * 0.7


def test_one_payload_per_cycle():
    got = run(itertools.repeat(1), itertools.repeat(1), 40)
    cycles = [cycle for cycle, _ in got]
    assert cycles == list(range(cycles[0], 40))


class Contract(wiring.Component):
    """Neighbours that keep the stream contract, and the claim that `Buffer` does."""

    def __init__(self, dut):
        self.dut = dut
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        wiring.connect(m, wiring.flipped(self.i), self.dut.i)
        wiring.connect(m, self.dut.o, wiring.flipped(self.o))
        held_until_taken(m, self.i, Assume)
        held_until_taken(m, self.o, Assert)
        return m


def test_contract(tmp_path):
    prove(Contract(Buffer(2)), tmp_path)
