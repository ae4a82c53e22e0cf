"""A comparison with a constant, for every number and every constant."""

from amaranth import *
from amaranth.sim import Simulator

from tritstream_hw.arithmetic.bounds import at_most

BITS = 5


def test_at_most():
    value = Signal(BITS)
    fits = Signal((1 << BITS) + 2)      # a bit for each limit, of which two are beyond all numbers
    m = Module()
    m.d.comb += fits.eq(Cat(at_most(value, limit) for limit in range(len(fits))))

    async def check(ctx):
        for number in range(1 << BITS):
            ctx.set(value, number)
            assert ctx.get(fits) == sum((number <= limit) << limit for limit in range(len(fits)))

    simulator = Simulator(m)
    simulator.add_testbench(check)
    simulator.run()
