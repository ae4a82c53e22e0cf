"""Bounds, for every number."""

from amaranth import *
from amaranth.sim import Simulator

from tritstream_hw.arithmetic.bounds import at_most, beyond

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


def test_beyond():
    first, count, size = Signal(BITS), Signal(BITS), Signal(BITS - 2)
    found = Signal()
    m = Module()
    m.d.comb += found.eq(beyond(first, count, size))

    async def check(ctx):
        for places in range(1 << len(size)):
            ctx.set(size, places)
            for start in range(1 << BITS):
                ctx.set(first, start)
                for length in range(1 << BITS):
                    ctx.set(count, length)
                    assert ctx.get(found) == (start + length > places)

    simulator = Simulator(m)
    simulator.add_testbench(check)
    simulator.run()
