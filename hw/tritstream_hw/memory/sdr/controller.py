"""Controller that streams from an SDR SDRAM."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import beat_layout, command_layout
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.columns import Columns
from tritstream_hw.memory.sdr.pads import BURST, Command, PadsSignature
from tritstream_hw.memory.sdr.rows import Rows
from tritstream_hw.memory.sdr.segments import Segments
from tritstream_hw.stream.delay import delay

__all__ = ["SdrController"]


class SdrController(wiring.Component):
    """Serves the commands of the memory port, its rows opened ahead.

    Reads that follow each other in address go on without a gap but for refresh, which takes the
    cycles `rp` + `rfc` + `rcd` and some eight in every `refi`. Writes are of single words, and take
    some ten cycles a beat. Its clock is the memory's; `MemoryCrossing` is the way from another one.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    clock_hz : int
        Frequency of the domain.
    beat_bytes : int
        `P`, a multiple of the bytes of a word.
    read_cycles : int
        Cycles from a READ on `pads` to its first word there.

    Members
    -------
    command : :py:`In(stream.Signature(command_layout(P)))`
        As `MemorySignature` has it.
    data : :py:`Out(stream.Signature(beat_layout(P), always_ready=True))`
        Beats of all reads.
    room : :py:`In(1)`
        Where they go, there is room for `margin` beats.
    pads : :py:`Out(PadsSignature(chip))`
        To the chip.
    """

    def __init__(self, *, chip: SdrChip, clock_hz: int, beat_bytes: int, read_cycles: int):
        self._chip = chip
        self._cycles = chip.cycles(clock_hz)
        self._beat_bytes = beat_bytes
        self._read_cycles = read_cycles
        self._words = beat_bytes // chip.word_bytes
        # A burst that is asked for now, and those whose words are still on their way.
        self.margin = -(-(2 * BURST + self._read_cycles + 7) // self._words)
        super().__init__({
            "command": In(stream.Signature(command_layout(beat_bytes))),
            "data": Out(stream.Signature(beat_layout(beat_bytes), always_ready=True)),
            "room": In(1),
            "pads": Out(PadsSignature(chip)),
        })

    def elaborate(self, platform):
        m = Module()
        chip, pads = self._chip, self.pads
        m.submodules.segments = segments = Segments(chip=chip, beat_bytes=self._beat_bytes)
        m.submodules.rows = rows = Rows(chip=chip, cycles=self._cycles,
                                        beat_bytes=self._beat_bytes)
        m.submodules.columns = columns = Columns(
            chip=chip, cycles=self._cycles, beat_bytes=self._beat_bytes,
            clear_cycles=self._read_cycles + 1)
        wiring.connect(m, wiring.flipped(self.command), segments.i)
        wiring.connect(m, segments.o, rows.i)
        wiring.connect(m, rows.o, columns.i)

        # What the columns decide is on the pads four cycles later, what the rows do two: they know
        # in time when not to.
        late = [columns.command, columns.bank, columns.address, columns.o]
        for _ in range(3):
            early, late = late, [Signal.like(value) for value in late]
            m.d.sync += [after.eq(value) for after, value in zip(late, early, strict=True)]
        command, bank, address, word = late
        m.d.comb += rows.taken.eq(columns.taken)
        m.d.sync += [
            rows.busy.eq(columns.command != Command.NOTHING),
            rows.alone.eq(columns.alone),
            rows.done.eq(columns.done),
            columns.room.eq(self.room),
        ]
        busy = delay(m, rows.busy, 2, name="busy", reset_less=False)
        m.d.sync += [
            pads.command.eq(Mux(busy, command, rows.command)),
            pads.bank.eq(Mux(busy, bank, rows.bank)),
            pads.address.eq(Mux(busy, address, rows.address)),
            pads.write.eq(command == Command.WRITE),
            pads.o.eq(word),
        ]
        self._gather(m, delay(m, columns.wanted, 4 + self._read_cycles, name="wanted",
                              reset_less=False))
        return m

    def _gather(self, m, comes):
        """Make beats of the words that come."""
        size, count = self._chip.word_bits, Signal(range(max(2, self._words)))
        m.d.sync += self.data.valid.eq(comes & (count == self._words - 1))
        with m.If(comes):
            m.d.sync += [
                self.data.payload.eq(Cat(self.data.payload.as_value(), self.pads.i)[size:]),
                count.eq(Mux(count == self._words - 1, 0, count + 1)),
            ]
