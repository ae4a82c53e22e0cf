"""Bench of the agents: does what its parameter `does` says, on a register between two streams."""

import itertools
import random

import cocotb
from amaranth import signed

from tritstream_sim.agents.payload import as_signed
from tritstream_sim.agents.stream import Monitor, Sink, Source, reset, stall, start_clock
from tritstream_sim.verilate.parameters import build_config, parameters

DOES = parameters()["does"]


async def start(dut, *, i_stall=(0,), o_stall=(0,)):
    start_clock(dut)
    source = Source(dut, "i", signed(33), stall=stall(*i_stall))
    sink = Sink(dut, "o", signed(33), stall=stall(*o_stall))
    await reset(dut)
    return source, sink


def words(count):
    return [random.randrange(-(1 << 32), 1 << 32) for _ in range(count)]


@cocotb.test(skip=DOES != "pass")
@cocotb.parametrize(i_stall=[(0,), (0.5,), (0.5, 12)], o_stall=[(0,), (0.5,), (0.6, 9)])
async def passes_everything_on_in_order(dut, i_stall, o_stall):
    source, sink = await start(dut, i_stall=i_stall, o_stall=o_stall)
    watched = Monitor(dut, "o", signed(33))
    expected = words(300)
    source.send(expected)
    got = await sink.take(300)
    assert got == expected
    await sink.nothing_more()
    assert watched.payloads == got
    if i_stall == o_stall == (0,):
        first = watched.cycles[0]
        assert watched.cycles == list(range(first, first + 300))


@cocotb.test(skip=DOES != "pass")
@cocotb.parametrize(share=[0.3, 0.7], burst=[1, 10])
async def pauses_take_their_share_and_come_in_bursts(dut, share, burst):
    """Of 20,000 cycles, within four standard deviations or so."""
    pause = stall(share, burst)
    drawn = [pause() for _ in range(20_000)]
    bursts = [len(list(run)) for paused, run in itertools.groupby(drawn) if paused]
    assert abs(sum(drawn) / len(drawn) - share) < 0.02 * burst ** 0.5
    longest = burst if burst > 1 else 1 / (1 - share)
    assert abs(sum(bursts) / len(bursts) / longest - 1) < 0.15


@cocotb.test(skip=DOES != "pass")
async def a_reset_ends_everything(dut):
    source, sink = await start(dut)
    watched = Monitor(dut, "o", signed(33))
    source.send(words(10))
    for _ in range(5):
        await sink.edge
    dut.rst.value = 1
    for _ in range(3):
        await sink.edge
    assert (dut.i__valid.value, dut.o__ready.value) == (0, 0)
    assert not source.pending and not sink.taken and not watched.payloads
    dut.rst.value = 0
    source.send([-5])
    await source.sent()
    assert await sink.take(1) == watched.payloads == [-5]
    await sink.nothing_more()


@cocotb.test(skip=DOES != "pass")
async def what_is_not_offered_is_noise(dut):
    source, sink = await start(dut)
    seen = set()
    for payload in words(20):
        source.send([payload])
        await source.sent()
        await sink.edge
        assert dut.i__valid.value == 0
        seen.add(int(dut.i__payload.value))
        assert as_signed(int(dut.i__payload.value), 33) != payload
    assert len(seen) == 20
    await sink.take(20)


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
async def withdraws_an_offer(dut):
    source, _ = await start(dut, o_stall=(0.99,))
    source.send(words(10))
    for _ in range(10):
        await source.edge
    source.clear()
    for _ in range(3):
        await source.edge


@cocotb.test(skip=DOES != "change")
async def changes_an_offer(dut):
    source, sink = await start(dut)
    sink.stall = lambda: True
    source.send([1, 2, 3])
    for _ in range(10):
        await source.edge
    source.payload.value = 4
    for _ in range(3):
        await source.edge


@cocotb.test(skip=DOES != "draw")
async def draws_from_the_seed(dut):
    raise AssertionError(f"drawn {random.getrandbits(64):016x}")
