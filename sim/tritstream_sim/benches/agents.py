"""Bench of the agents: does what its parameter `does` says, on a register between two streams."""

import random

import cocotb

from tritstream_sim.agents.stream import Monitor, Sink, Source, as_signed, reset, stall, start_clock
from tritstream_sim.verilate.parameters import build_config, parameters

DOES = parameters()["does"]


async def start(dut, **stalls):
    start_clock(dut)
    source = Source(dut, "i", stall=stall(stalls.get("i_stall", 0)))
    sink = Sink(dut, "o", stall=stall(stalls.get("o_stall", 0)))
    await reset(dut)
    return source, sink


def words(count):
    return [random.randrange(-(1 << 32), 1 << 32) for _ in range(count)]


@cocotb.test(skip=DOES != "pass")
@cocotb.parametrize(i_stall=[0, 0.5], o_stall=[0, 0.5])
async def passes_everything_on_in_order(dut, i_stall, o_stall):
    source, sink = await start(dut, i_stall=i_stall, o_stall=o_stall)
    watched = Monitor(dut, "o")
    expected = words(300)
    source.send(expected)
    got = await sink.take(300)
    assert [as_signed(value, 33) for value in got] == expected
    await sink.nothing_more()
    assert watched.payloads == got
    if not i_stall and not o_stall:
        first = watched.cycles[0]
        assert watched.cycles == list(range(first, first + 300))


@cocotb.test(skip=DOES != "pass")
async def source_withdraws_when_cleared(dut):
    source, sink = await start(dut, o_stall=1)
    source.send(words(10))
    for _ in range(5):
        await sink.edge
    source.clear()
    await reset(dut)
    sink.stall = None
    source.send([-5])
    await source.sent()
    assert await sink.take(1) == [(1 << 33) - 5]
    await sink.nothing_more()


@cocotb.test(skip=DOES != "pass")
async def knows_its_configuration(dut):
    assert build_config().beat_bytes == parameters()["beat_bytes"]


@cocotb.test(skip=DOES != "mismatch")
async def expects_what_does_not_come(dut):
    source, sink = await start(dut)
    source.send([1, 2])
    assert await sink.take(2) == [1, 3]


@cocotb.test(skip=DOES != "starve")
async def waits_for_what_does_not_come(dut):
    source, sink = await start(dut)
    source.send([1, 2])
    await sink.take(3, patience=50)


@cocotb.test(skip=DOES != "surplus")
async def does_not_expect_what_comes(dut):
    source, sink = await start(dut)
    source.send([1, 2])
    await sink.take(1)
    await sink.nothing_more()


@cocotb.test(skip=DOES != "withdraw")
async def sees_an_offer_withdrawn(dut):
    source, _ = await start(dut, o_stall=1)
    Monitor(dut, "i")
    source.send(words(10))
    for _ in range(10):
        await source.edge
    source.clear()
    for _ in range(3):
        await source.edge


@cocotb.test(skip=DOES != "draw")
async def draws_from_the_seed(dut):
    raise AssertionError(f"drawn {random.getrandbits(64):016x}")
