"""Bench of a DDR3 memory behind the memory port, with LiteDRAM's model of a chip.

Its beats are halves of bursts, and all is in one clock. The controller is held to the times of the
chip all the while.
"""

import dataclasses
import math
import random

import cocotb
from amaranth import *
from amaranth.lib import wiring
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge

from tritstream.ddr3 import levelling
from tritstream.ddr3.levelling import BITSLIPS, DELAYS, LANES, STARTED, LevellingError, Window
from tritstream.ddr3.registers import Command, Control
from tritstream_hw.memory.ddr3.chip import DDR3_512MB
from tritstream_hw.memory.ddr3.core import CYCLES_PER_BURST
from tritstream_hw.memory.ddr3.memory import Ddr3Memory
from tritstream_hw.memory.port import MOST_BEATS, beat_layout, command_layout
from tritstream_sim.agents.ddr3 import Ddr3Times, ModelledCore, packed
from tritstream_sim.agents.registers import LINK_CYCLES, BlockingAccess, Registers
from tritstream_sim.agents.stream import Monitor, Sink, Source, reset, stall, start_clock

CLOCK_HZ = 75_000_000
CHIP = dataclasses.replace(DDR3_512MB, row_bits=11)     # the model holds it all
PAGE = CHIP.word_bits // 8 << CHIP.column_bits          # bytes of a row of a bank
SIZE = CHIP.burst_bytes // 2                            # P
REFRESH = CHIP.refi * CLOCK_HZ / 1e9                    # cycles between two, on average
EVERYWHERE = Window(0, 0, DELAYS - 1)                   # in which a lane reads right as it begins
SHARE = 0.92                                            # of the peak, at least


class Watched(wiring.Component):
    """A memory, and what its chip is told.

    Members
    -------
    bus, access, abandon
        See :class:`Ddr3Memory`.
    commands, windows
        See :class:`ModelledCore`.
    """

    def __init__(self):
        self._core = ModelledCore(CHIP)
        self._memory = Ddr3Memory(self._core, beat_bytes=SIZE, beats=512, memory_domain="sync")
        seen = {name: self._core.signature.members[name] for name in ("commands", "windows")}
        super().__init__({**self._memory.signature.members, **seen})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self._memory
        wiring.connect(m, wiring.flipped(self.bus), memory.bus)
        wiring.connect(m, wiring.flipped(self.access), memory.access)
        m.d.comb += [memory.abandon.eq(self.abandon), self.commands.eq(self._core.commands),
                     self._core.windows.eq(self.windows)]
        return m


def verilog() -> str:
    """Return what it instantiates."""
    return ModelledCore.verilog(CHIP, CLOCK_HZ)


def content(beat: int) -> bytes:
    """Return a beat that differs from its neighbours, and from those of other rows and banks."""
    return random.Random(beat).randbytes(SIZE)


def reads(beat, beats):
    return {"write": 0, "beat": beat, "beats": beats, "data": bytes(SIZE)}


def writes(beat):
    return {"write": 1, "beat": beat, "beats": 1, "data": content(beat)}


async def start(dut, *, i_stall=(0,), o_stall=(0,), windows=(EVERYWHERE,) * LANES,
                watched=True):
    start_clock(dut)
    dut.windows.value = packed(windows)
    registers = Registers(dut, "access")
    dut.abandon.value = 0
    source = Source(dut, "bus__command", command_layout(SIZE), stall=stall(*i_stall))
    sink = Sink(dut, "bus__data", beat_layout(SIZE), stall=stall(*o_stall))
    await reset(dut, 10)                # for as long as something may be on its way
    times = Ddr3Times(CHIP, CLOCK_HZ)
    if watched:
        cocotb.start_soon(watch(dut, times))
    return source, sink, registers, times


async def watch(dut, times):
    """Hold the controller to the times of the chip."""
    edge, commands = RisingEdge(dut.clk), dut.commands
    while True:
        await edge
        times.step(int(commands.value))


@cocotb.test()
@cocotb.parametrize(i_stall=[(0,), (0.5, 16)], o_stall=[(0,), (0.7, 40)])
async def reads_see_the_writes_before_them(dut, i_stall, o_stall):
    """Wherever they begin and end: in the middle of bursts, across pages, banks and rows."""
    source, sink, _, _ = await start(dut, i_stall=i_stall, o_stall=o_stall)
    page = PAGE // SIZE
    places = [0, page - 3, 8 * page - 2, 19 * page + 5, CHIP.bytes // SIZE - 7]
    commands = [writes(place + n) for place in places for n in range(7)]
    expected = []
    for _ in range(60):
        place, first = random.choice(places), random.randrange(7)
        beats = random.randrange(1, 8 - first)
        commands.append(reads(place + first, beats))
        expected += [content(place + n) for n in range(first, first + beats)]
        if random.random() < 0.3:
            commands.append(writes(place + first))
    source.send(commands)
    assert await sink.take(len(expected)) == expected
    await sink.nothing_more()


@cocotb.test()
async def long_reads_are_at_the_peak_of_the_chip(dut):
    """But for refresh, over twenty of its intervals; what was written stays."""
    source, sink, _, times = await start(dut)
    peak = CHIP.burst_bytes / SIZE / CYCLES_PER_BURST           # beats per cycle
    commands = math.ceil(20 * REFRESH * peak / MOST_BEATS)
    written = range(5, commands * MOST_BEATS, 331)
    source.send(writes(beat) for beat in written)
    watched = Monitor(dut, "bus__data")
    source.send(reads(MOST_BEATS * n, MOST_BEATS) for n in range(commands))
    beats = await sink.take(commands * MOST_BEATS)
    assert [beats[beat] for beat in written] == [content(beat) for beat in written]
    cycles = watched.cycles[-1] - watched.cycles[0]
    share = (len(beats) - 1) / peak / cycles
    dut._log.info(f"{share:.2%} of the peak beside {times.refreshes} refreshes")
    assert share >= SHARE and times.refreshes >= 20


@cocotb.test()
async def registers_reach_the_chip(dut):
    """What they write the port reads, and they do: the model says of phase 0 alone that it did."""
    source, sink, registers, _ = await start(dut)
    assert Control.HARDWARE in Control(await registers.read("dfii_control"))
    await registers.write("dfii_control", Control.CKE | Control.ODT | Control.RESET_N)
    bank, row, column = 3, 5, 16
    halves = [random.getrandbits(64) for _ in range(2)]
    await registers.issue(0, Command.ACTIVATE, bank=bank, address=row)
    for phase, half in enumerate(halves):
        await registers.write(f"dfii_pi{phase}_wrdata", half)
    await registers.issue(1, Command.WRITE, bank=bank, address=column)
    await registers.issue(0, Command.READ, bank=bank, address=column)
    await ClockCycles(dut.clk, LINK_CYCLES)
    assert await registers.read("dfii_pi0_rddata") == halves[0]
    await registers.issue(0, Command.PRECHARGE, bank=bank)
    await registers.write("dfii_control", Control.HARDWARE)

    place = (row * 8 + bank) * PAGE + 2 * column
    source.send([reads(place // SIZE, CHIP.burst_bytes // SIZE)])
    expected = b"".join(half.to_bytes(8, "little") for half in halves)
    assert b"".join(await sink.take(CHIP.burst_bytes // SIZE)) == expected


@cocotb.test()
async def a_host_starts_and_levels_it(dut):
    """As it does over the link; then each lane reads right, and the controller has the chip."""
    windows = []
    for _ in range(LANES):
        first = random.randrange(DELAYS)
        windows.append(Window(random.randrange(BITSLIPS), first, random.randrange(first, DELAYS)))
    dut._log.info(f"{windows}")
    source, sink, registers, _ = await start(dut, windows=windows, watched=False)
    access = BlockingAccess(registers, dut.clk)
    found = await bridge(levelling.start)(access, lambda seconds: None)
    assert list(found) == windows
    assert await bridge(levelling.kept)(access) == found
    assert Control(await registers.read("dfii_control")) == STARTED
    places = range(3, CHIP.bytes // SIZE, CHIP.bytes // SIZE // 9)
    source.send(command for place in places for command in (writes(place), reads(place, 1)))
    assert await sink.take(len(places)) == [content(place) for place in places]


@cocotb.test()
async def a_lane_that_reads_nowhere_is_told(dut):
    nowhere = Window(0, 5, 4)
    _, _, registers, _ = await start(dut, windows=(EVERYWHERE, nowhere), watched=False)
    try:
        await bridge(levelling.start)(BlockingAccess(registers, dut.clk), lambda seconds: None)
    except LevellingError as error:
        assert "Byte lane 1 " in str(error)
    else:
        raise AssertionError("a lane was placed where it reads wrong")
