"""Helpers for testbenches in the Amaranth simulator, where a build is not worth its time."""

import random

from amaranth.sim import Simulator

__all__ = ["collect", "feed", "run", "stalls"]

# These loops await `ctx.tick()` plainly. `.until()` and `.repeat()` would be shorter, but in
# Amaranth 0.5 a testbench that is abandoned inside one of them (because another one failed)
# raises when it is collected, and spoils whatever test happens to run at the time.


def stalls(seed: int, probability: float):
    """Endless, reproducible sequence of numbers of idle cycles, on average p / (1 - p)."""
    rng = random.Random(seed)
    while True:
        cycles = 0
        while rng.random() < probability:
            cycles += 1
        yield cycles


async def feed(ctx, stream, payloads, idle):
    """Send every payload, each after the next number of `idle` cycles."""
    for payload, cycles in zip(payloads, idle, strict=False):
        for _ in range(cycles):
            await ctx.tick()
        ctx.set(stream.payload, payload)
        ctx.set(stream.valid, 1)
        taken = False
        while not taken:
            _, _, taken = await ctx.tick().sample(stream.ready)
        ctx.set(stream.valid, 0)


async def collect(ctx, stream, count, idle):
    """Take and return `count` payloads, each after the next number of `idle` cycles."""
    payloads = []
    for _, cycles in zip(range(count), idle, strict=False):
        for _ in range(cycles):
            await ctx.tick()
        ctx.set(stream.ready, 1)
        offered = False
        while not offered:
            _, _, offered, payload = await ctx.tick().sample(stream.valid, stream.payload)
        ctx.set(stream.ready, 0)
        payloads.append(payload)
    return payloads


def run(dut, *testbenches, background=(), cycles: int = 100_000):
    """Simulate `dut` under one clock until every testbench has returned.

    Those in `background` may go on for ever.

    Raises
    ------
    TimeoutError
        If one has not after `cycles` cycles.
    """
    period = 1e-6

    async def watchdog(ctx):
        await ctx.delay(cycles * period)
        raise TimeoutError(f"not done after {cycles} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(period)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in (watchdog, *background):
        simulator.add_testbench(testbench, background=True)
    simulator.run()
