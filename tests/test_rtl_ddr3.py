"""LiteDRAM's controller of a DDR3 SDRAM behind the memory port, with its own model of a chip."""

import collections
import dataclasses
import importlib.metadata
import itertools
import random
import re
import subprocess

import pytest
from amaranth.sim import Simulator

from tritstream.ddr3.registers import Command
from tritstream.errors import MissingTool
from tritstream.support.tools import find_yosys, run_bounded
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.ecp5 import Ddr3Top
from tritstream_hw.memory.ddr3.bursts import READS, Bursts
from tritstream_hw.memory.ddr3.chip import DDR3_512MB, Ddr3Chip
from tritstream_hw.memory.ddr3.core import CYCLES_PER_BURST
from tritstream_hw.memory.ddr3.crossing import RegistersCrossing
from tritstream_sim.agents.ddr3 import ALL, AUTO, Ddr3Times
from tritstream_sim.agents.pysim import collect, feed, run, stalls
from tritstream_sim.benches.memory import ddr3

CHIP = DDR3_512MB


@pytest.mark.verilator
def test_ddr3(simulate):
    simulate(ddr3.Watched(), "tritstream_sim.benches.memory.ddr3", modules=ddr3.verilog())


def test_what_is_not_installed_is_told(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingTool, match=r"LiteDRAM.*not installed; run `.*litedram==[\d.]+'`"):
        ddr3.verilog()


# Pads.

LINT = """read_verilog -lib -specify +/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v
read_verilog ddr3_core.v
read_rtlil top.il
hierarchy -check -top top
proc
check -assert
"""


class Pads(Ddr3Top):
    """A board with its memory alone."""

    def _connect(self, m, platform, memory):
        m.submodules.memory = memory


@pytest.mark.parametrize("target", [target for target in TARGETS.values()
                                    if isinstance(target.chip, Ddr3Chip)], ids=lambda t: t.name)
def test_the_pads_of_a_board_have_places_and_what_is_behind_them_is_whole(target, tmp_path):
    top = Pads(target.config, bytes(8), target.baud, **target.top.keywords)
    plan = target.platform().prepare(top, "top", emit_src=False)
    places = collections.Counter(re.findall(
        r'LOCATE COMP "ddr3_0__(\w+)__\w+(?:\[\d+\])?" SITE "\w+";', plan.files["top.lpf"]))
    chip = target.chip
    lanes = chip.word_bits // 8
    assert places["a"] >= chip.row_bits
    assert {"dq": chip.word_bits, "dqs": lanes, "dm": lanes, "ba": chip.bank_bits, "clk": 1,
            "clk_en": 1}.items() <= places.items()
    plan.extract(tmp_path)
    (tmp_path / "lint.ys").write_text(LINT)
    done = run_bounded([find_yosys(), "-q", "lint.ys"], 300.0, cwd=tmp_path,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, "")


# Bursts alone.


class Core:
    """A controller in Amaranth's simulator, whose chip holds bytes.

    Parameters
    ----------
    port
        Its port, as its user has it.
    rng : random.Random
        For its pauses.
    """

    def __init__(self, port, rng: random.Random):
        self._port = port
        self._rng = rng
        self.content = collections.defaultdict(lambda: bytes(CHIP.burst_bytes))
        self.most = 0               # reads that were under way at once

    async def run(self, ctx):
        """Be the controller, for ever: a testbench in the background."""
        port, rng = self._port, self._rng
        reads, last = collections.deque(), 0
        takes = burst = None        # of a write: the cycle, and the place
        for cycle in itertools.count():
            ctx.set(port.command.ready, ready := rng.random() < 0.7)
            ctx.set(port.write_taken, cycle == takes)
            comes = bool(reads) and reads[0][0] <= cycle and cycle >= last + CYCLES_PER_BURST
            ctx.set(port.read.valid, comes)
            if comes:
                ctx.set(port.read.payload, int.from_bytes(reads.popleft()[1], "little"))
                last = cycle
            _, _, valid, command, data, which = await ctx.tick().sample(
                port.command.valid, port.command.payload, port.write_data, port.write_bytes)
            if cycle == takes:
                self._write(burst, data, which)
                takes = None
            if valid and ready:
                assert takes is None, "a command beside a write"
                burst = command.burst
                if command.write:
                    takes = cycle + rng.randrange(3, 9)
                else:
                    reads.append((cycle + rng.randrange(9, 15), self.content[burst]))
                    self.most = max(self.most, len(reads))

    def _write(self, burst: int, data: int, which: int):
        new = data.to_bytes(CHIP.burst_bytes, "little")
        self.content[burst] = bytes(new[n] if which >> n & 1 else old
                                    for n, old in enumerate(self.content[burst]))


def asked(beat, beats=1, data=None, *, size):
    return {"write": data is not None, "beat": beat, "beats": beats,
            "data": list(data or bytes(size))}


@pytest.mark.parametrize("parts", [1, 2])
def test_bursts_are_what_was_asked_for(parts, seed):
    """Reads see the writes before them, wherever they begin and end."""
    size, rng = CHIP.burst_bytes // parts, random.Random(seed)
    dut = Bursts(chip=CHIP, beat_bytes=size)
    core = Core(dut.core, rng)
    content = collections.defaultdict(lambda: bytes(size))
    commands, expected = [], []
    last = CHIP.bytes // size - 60
    for _ in range(60):
        beat, beats = rng.choice([0, last]) + rng.randrange(40), rng.randrange(1, 20)
        if rng.random() < 0.5:
            content[beat] = rng.randbytes(size)
            commands.append(asked(beat, data=content[beat], size=size))
        else:
            commands.append(asked(beat, beats, size=size))
            expected += [content[beat + n] for n in range(beats)]
    found = []

    async def master(ctx):
        ctx.set(dut.room, 1)
        await feed(ctx, dut.command, commands, stalls(seed, 0.3))

    async def consumer(ctx):
        while len(found) < len(expected):
            _, _, valid, beat = await ctx.tick().sample(dut.data.valid, dut.data.payload)
            if valid:
                found.append(bytes(beat))

    run(dut, master, consumer, background=[core.run])
    assert found == expected


def test_no_more_comes_than_there_is_room_for(seed):
    """Whenever it ends: at most `margin` beats come behind it."""
    size = CHIP.burst_bytes // 2
    dut, rng = Bursts(chip=CHIP, beat_bytes=size), random.Random(seed)
    core = Core(dut.core, rng)
    behind = []

    async def user(ctx):
        ctx.set(dut.command.valid, 1)
        ctx.set(dut.command.payload, asked(0, 255, size=size))
        for _ in range(12):
            ctx.set(dut.room, 1)
            for _ in range(rng.randrange(20, 90)):
                await ctx.tick()
            ctx.set(dut.room, 0)
            behind.append(0)
            for _ in range(3 * READS):
                _, _, valid = await ctx.tick().sample(dut.data.valid)
                behind[-1] += valid

    run(dut, user, background=[core.run])
    print(behind, core.most)
    assert 0 < max(behind) <= dut.margin and core.most <= READS


# Registers.


@pytest.mark.parametrize("cycles", range(1, 14))
def test_an_access_that_is_abandoned_is_forgotten(cycles):
    """Wherever it is; the next word is that of the next access."""
    dut = RegistersCrossing(memory_domain="memory")
    request, bus = dut.access.request, dut.registers

    async def user(ctx):
        ctx.set(dut.access.word.ready, 1)
        ctx.set(request.payload, {"address": 3, "data": 0, "write": 0})
        ctx.set(request.valid, 1)
        taken = 0
        for _ in range(cycles):
            ctx.set(request.valid, not taken)
            _, _, ready = await ctx.tick().sample(request.ready)
            taken |= ready
        ctx.set(dut.abandon, 1)
        ctx.set(request.valid, 0)
        await ctx.tick()
        ctx.set(dut.abandon, 0)
        asked = [{"address": 5, "data": 0, "write": 0}, {"address": 5, "data": 77, "write": 1},
                 {"address": 5, "data": 0, "write": 0}]
        for what, expected in zip(asked, (105, None, 77), strict=True):
            await feed(ctx, request, [what], stalls(1, 0.0))
            if expected is not None:
                word = await collect(ctx, dut.access.word, 1, stalls(1, 0.0))
                assert word == [expected]

    async def registers(ctx):
        content = {address: 100 + address for address in range(8)}
        tick = ctx.tick("memory").sample(bus.address, bus.write, bus.i)
        async for _, _, address, write, data in tick:
            ctx.set(bus.o, content[address])
            if write:
                content[address] = data

    async def watchdog(ctx):
        await ctx.delay(1e-4)
        raise TimeoutError("no word has come")

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_clock(1.3e-8, domain="memory")
    simulator.add_testbench(user)
    for testbench in (registers, watchdog):
        simulator.add_testbench(testbench, background=True)
    simulator.run()


# What the model is held to.

NOTHING, ACT, PRE, REF, ZQ = (Command(0), Command.ACTIVATE, Command.PRECHARGE, Command.REFRESH,
                              Command.CALIBRATE)
READ, WRITE = Command.CS | Command.CAS, Command.CS | Command.CAS | Command.WE
SLOW = dataclasses.replace(CHIP, faw=120)       # beyond four times tRRD


def tell(chip, *commands, earlier=0):
    """Give commands: so many cycles behind the one before, of 6.67 ns; to a bank, an address.

    The last one comes `earlier` than that.
    """
    times = Ddr3Times(chip, 75_000_000)
    for number, (pause, command, bank, address) in enumerate(commands):
        for _ in range(pause - 1 - (earlier if number == len(commands) - 1 else 0)):
            times.tell(NOTHING)
        times.tell(command, bank, address)


@pytest.mark.parametrize("rule, chip, commands", [
    ("tRCD", CHIP, [(1, ACT, 0, 5), (3, READ, 0, 0)]),
    ("tRAS", CHIP, [(1, ACT, 0, 5), (6, PRE, 0, 0)]),
    ("tRP", CHIP, [(1, ACT, 0, 5), (9, PRE, 0, 0), (3, ACT, 0, 6)]),
    ("tRP", CHIP, [(1, ACT, 0, 5), (9, PRE, 0, 0), (3, REF, 0, 0)]),
    ("tRP", CHIP, [(1, ACT, 0, 5), (9, READ, 0, AUTO), (4 + 3, ACT, 0, 6)]),
    ("tRP", CHIP, [(1, ACT, 0, 5), (3, WRITE, 0, AUTO), (5 + 4 + 3 + 3, ACT, 0, 6)]),
    ("tRRD", CHIP, [(1, ACT, 0, 5), (4, ACT, 1, 5)]),
    ("tFAW", SLOW, [(1, ACT, 0, 5), *((4, ACT, bank, 5) for bank in (1, 2, 3)), (6, ACT, 4, 5)]),
    ("tCCD", CHIP, [(1, ACT, 0, 5), (4, READ, 0, 0), (4, READ, 0, 8)]),
    ("tRTP", CHIP, [(1, ACT, 0, 5), (4, READ, 0, 0), (4, PRE, 0, ALL)]),
    ("tWR", CHIP, [(1, ACT, 0, 5), (4, WRITE, 0, 0), (5 + 4 + 3, PRE, 0, 0)]),
    ("tWTR", CHIP, [(1, ACT, 0, 5), (4, WRITE, 0, 0), (5 + 4 + 4, READ, 0, 0)]),
    ("READ to WRITE", CHIP, [(1, ACT, 0, 5), (4, READ, 0, 0), (6 + 4 + 2 - 5, WRITE, 0, 0)]),
    ("tRFC", CHIP, [(1, REF, 0, 0), (39, ACT, 0, 0)]),
    ("tZQCS", CHIP, [(1, ZQ, 0, 0), (64, REF, 0, 0)]),
])
def test_a_command_that_comes_too_early_is_told(rule, chip, commands):
    tell(chip, *commands)
    with pytest.raises(AssertionError, match=rule):
        tell(chip, *commands, earlier=1)


@pytest.mark.parametrize("rule, commands", [
    ("no row is open", [(1, READ, 0, 0)]),
    ("still open", [(1, ACT, 0, 5), (99, ACT, 0, 5)]),
    ("a row is open", [(1, ACT, 3, 5), (99, REF, 0, 0)]),
    ("refresh is late", [(1, REF, 0, 0), (11 * 1172, NOTHING, 0, 0)]),
])
def test_what_a_chip_cannot_do_is_told(rule, commands):
    with pytest.raises(AssertionError, match=rule):
        tell(CHIP, *commands)
