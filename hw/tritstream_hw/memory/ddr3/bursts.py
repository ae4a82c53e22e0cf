"""Commands of the memory port as bursts of a DDR3 SDRAM, and its bursts as beats."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.ddr3.core import CYCLES_PER_BURST, CoreSignature
from tritstream_hw.memory.port import MOST_BEATS, beat_layout, command_layout

__all__ = ["Bursts"]

READS = 32                  # under way: a full queue of a bank, and those of the pipeline behind it


class Bursts(wiring.Component):
    """Asks for the bursts of reads ahead, and for each write waits until it is taken.

    Reads go on without a gap as long as the core takes their commands; writes take some twenty
    cycles a beat.

    Parameters
    ----------
    chip : Ddr3Chip
        What is behind the core.
    beat_bytes : int
        `P`: a burst, or a half of one.

    Members
    -------
    command : :py:`In(stream.Signature(command_layout(P)))`
        As `MemorySignature` has it.
    data : :py:`Out(stream.Signature(beat_layout(P), always_ready=True))`
        Beats of all reads.
    room : :py:`In(1)`
        Where they go, there is room for `margin` beats.
    core : :py:`Out(CoreSignature(chip))`
        The controller.
    """

    def __init__(self, *, chip: Ddr3Chip, beat_bytes: int):
        self._chip = chip
        self._beat_bytes = beat_bytes
        self._parts = chip.burst_bytes // beat_bytes
        if self._parts not in range(1, CYCLES_PER_BURST + 1):
            raise ValueError(f"{chip.burst_bytes} bytes come in {CYCLES_PER_BURST} cycles, so a "
                             f"beat cannot have {beat_bytes}")
        # Those under way, one that is being taken apart, and what the other side knows late.
        self.margin = self._parts * (READS + 1) + 4
        super().__init__({
            "command": In(stream.Signature(command_layout(beat_bytes))),
            "data": Out(stream.Signature(beat_layout(beat_bytes), always_ready=True)),
            "room": In(1),
            "core": Out(CoreSignature(chip)),
        })

    def elaborate(self, platform):
        m = Module()
        command, core, parts = self.command.p, self.core, self._parts
        shift = exact_log2(parts)
        left, writes = Signal(range(MOST_BEATS + 1)), Signal()     # bursts that are not asked for
        first, last = Signal(parts), Signal(parts)          # parts of the first and last burst
        asks, taken, under_way = Signal(), Signal(), Signal(range(READS + 1))
        begin, end = command.beat[:shift], Signal(range(MOST_BEATS + parts))
        m.d.comb += [
            end.eq(begin + command.beats - 1),              # in parts of the first burst
            self.command.ready.eq((left == 0) & ~writes & ~core.command.valid),
            taken.eq(self.command.valid & self.command.ready),
            asks.eq((left != 0) & ~writes & self.room & (under_way != READS)
                    & (~core.command.valid | core.command.ready)),
        ]
        with m.If(core.command.ready):
            m.d.sync += core.command.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                core.command.valid.eq(command.write),
                core.command.p.write.eq(command.write),
                core.command.p.burst.eq((command.beat >> shift) - ~command.write),
                core.write_data.eq(command.data.as_value().replicate(parts)),
                core.write_bytes.eq(Cat((begin == n).replicate(self._beat_bytes)
                                        for n in range(parts))),
                writes.eq(command.write),
                left.eq(Mux(command.write, 0, (end >> shift) + 1)),
                first.eq((1 << parts) - (1 << begin)),
                last.eq((2 << end[:shift]) - 1),
            ]
        with m.If(asks):
            m.d.sync += [core.command.valid.eq(1), left.eq(left - 1), first.eq(-1),
                         core.command.p.burst.eq(core.command.p.burst + 1)]
        with m.If(core.write_taken):
            m.d.sync += writes.eq(0)

        m.d.sync += under_way.eq(under_way + asks - core.read.valid)
        m.submodules.wanted = wanted = SyncFIFO(width=parts, depth=READS)
        m.d.comb += [
            wanted.w_en.eq(asks),
            wanted.w_data.eq(first & Mux(left == 1, last, -1)),
            wanted.r_en.eq(core.read.valid),
        ]
        m.d.sync += Assert(~core.read.valid | wanted.r_rdy, "a burst that nobody has asked for")
        self._take_apart(m, wanted.r_data)
        return m

    def _take_apart(self, m, wanted):
        """Pass on the wanted parts of each burst, one in each cycle."""
        burst, remain = Signal.like(self.core.read.payload), Signal(self._parts)
        words = [burst.word_select(n, 8 * self._beat_bytes) for n in range(self._parts)]
        m.d.comb += [self.data.valid.eq(remain != 0), self.data.payload.eq(words[-1])]
        m.d.sync += remain.eq(remain & (remain - 1))
        for number in reversed(range(self._parts)):
            with m.If(remain[number]):
                m.d.comb += self.data.payload.eq(words[number])
        with m.If(self.core.read.valid):
            m.d.sync += [burst.eq(self.core.read.payload), remain.eq(wanted)]
            m.d.sync += Assert((remain & (remain - 1)) == 0, "a burst comes before its turn")
