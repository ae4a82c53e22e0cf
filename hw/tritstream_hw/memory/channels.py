"""Several memories side by side as one."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import MemorySignature
from tritstream_hw.stream.transfer import taken

__all__ = ["Channels"]

WAITING = 64
"""Beats of a memory that may wait for those of others: what it reads in their refreshes."""


class Channels(wiring.Component):
    """A memory of `G` that each have a beat of every stripe.

    All carry out every command, each as soon as it can. A stripe is there when the slowest has
    delivered its beat of it; beats of the others wait in queues. Throughput is one stripe per
    cycle, latency two cycles more than that of the memories.

    Parameters
    ----------
    beat_bytes, groups : int
        `P` and `G`.

    Members
    -------
    bus : :py:`In(MemorySignature(G P))`
        The memory that they make.
    memories : :py:`Out(MemorySignature(P)).array(G)`
        Beat n of the first, the second, ... is stripe n.
    """

    def __init__(self, *, beat_bytes: int, groups: int):
        self._beat_bits = 8 * beat_bytes
        super().__init__({
            "bus": In(MemorySignature(groups * beat_bytes)),
            "memories": Out(MemorySignature(beat_bytes)).array(groups),
        })

    def elaborate(self, platform):
        m = Module()
        command, bits = self.bus.command, self._beat_bits
        given = Signal(len(self.memories))      # which have the command already
        gives = Cat(memory.command.ready for memory in self.memories)
        queues = [SyncFIFOBuffered(width=bits, depth=WAITING) for _ in self.memories]
        m.d.comb += [
            command.ready.eq((given | gives).all()),
            self.bus.data.valid.eq(Cat(queue.r_rdy for queue in queues).all()),
            Value.cast(self.bus.data.payload).eq(Cat(queue.r_data for queue in queues)),
        ]
        m.d.sync += given.eq(Mux(command.valid & ~command.ready, given | gives, 0))
        for n, (memory, queue) in enumerate(zip(self.memories, queues, strict=True)):
            m.submodules[f"queue{n}"] = queue
            m.d.comb += [
                memory.command.valid.eq(command.valid & ~given[n]),
                memory.command.p.write.eq(command.p.write),
                memory.command.p.beat.eq(command.p.beat),
                memory.command.p.beats.eq(command.p.beats),
                memory.command.p.data.eq(command.p.data.as_value().word_select(n, bits)),
                queue.w_data.eq(memory.data.payload),
                queue.w_en.eq(memory.data.valid),
                memory.data.ready.eq(queue.w_rdy),
                queue.r_en.eq(taken(self.bus.data)),
            ]
        return m
