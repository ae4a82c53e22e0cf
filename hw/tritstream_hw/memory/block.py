"""On-chip memory behind the memory port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tritstream_hw.memory.port import MOST_BEATS, MemorySignature, beat_layout
from tritstream_hw.ram import Ram
from tritstream_hw.stream.reader import Reader
from tritstream_hw.stream.skid import Skid

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """Block RAM that takes one command, or reads one beat, per cycle.

    The first beat comes three cycles after its command; the next command is taken while the last
    beat is fetched, so that there is no gap between them.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    beats : int
        Size.

    Members
    -------
    bus : :py:`In(MemorySignature(P))`
        The port.
    """

    def __init__(self, *, beat_bytes: int, beats: int):
        self._layout = beat_layout(beat_bytes)
        self._beats = beats
        super().__init__({"bus": In(MemorySignature(beat_bytes))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Ram(shape=self._layout, depth=self._beats)
        write, read = store.write_port(), store.read_port()

        # The memory is spread over the chip: what comes out of it is registered at once.
        m.submodules.skid = skid = Skid(self._layout)
        m.submodules.reader = reader = Reader(len(read.addr), self._layout)
        wiring.connect(m, reader.memory, read)
        wiring.connect(m, reader.o, skid.i)
        wiring.connect(m, skid.o, wiring.flipped(self.bus.data))

        # `left` counts beyond the beat that is read next; what is decided by it is registered.
        command = self.bus.command
        address, left = Signal.like(read.addr), Signal(range(MOST_BEATS))
        busy, last, fetched, taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            reader.i.payload.eq(address),
            reader.i.valid.eq(busy),
            fetched.eq(reader.i.valid & reader.i.ready),
            command.ready.eq(~busy | (fetched & last)),
            taken.eq(command.valid & command.ready),
            write.en.eq(taken & command.p.write),
            write.addr.eq(command.p.beat),
            write.data.eq(command.p.data),
        ]
        with m.If(fetched):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), last.eq(left == 1),
                         busy.eq(~last)]
        with m.If(taken & ~command.p.write):
            m.d.sync += [address.eq(command.p.beat), left.eq(command.p.beats - 1),
                         last.eq(command.p.beats == 1), busy.eq(1)]
        return m
