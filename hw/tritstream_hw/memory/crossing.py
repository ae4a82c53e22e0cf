"""The memory port from one clock to another."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import MemorySignature, beat_layout, command_layout
from tritstream_hw.stream.crossing_queue import CrossingQueue
from tritstream_hw.stream.handoff import Handoff
from tritstream_hw.stream.skid import Skid

__all__ = ["MemoryCrossing"]



class MemoryCrossing(wiring.Component):
    """Takes commands from the user's clock to the memory's, and beats back.

    Beats wait for the user in a queue that is filled ahead of its needs: it hides what the memory
    pauses and what the user pauses, as far as it is deep.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    beats : int
        Depth of the queue, a power of two.
    margin : int
        Beats that may still come when there is no more room.
    memory_domain : str
        The memory's clock; the user's is ``sync``.

    Members
    -------
    bus : :py:`In(MemorySignature(P))`
        The port.
    command : :py:`Out(stream.Signature(command_layout(P)))`
        To the memory, in its domain as what follows.
    data : :py:`In(stream.Signature(beat_layout(P), always_ready=True))`
        From the memory.
    room : :py:`Out(1)`
        There is room for `margin` beats.
    """

    def __init__(self, *, beat_bytes: int, beats: int, margin: int, memory_domain: str):
        self._beat_bytes = beat_bytes
        self._beats = beats
        self._margin = margin
        self._domain = memory_domain
        super().__init__({
            "bus": In(MemorySignature(beat_bytes)),
            "command": Out(stream.Signature(command_layout(beat_bytes))),
            "data": In(stream.Signature(beat_layout(beat_bytes), always_ready=True)),
            "room": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.handoff = handoff = Handoff(command_layout(self._beat_bytes),
                                                 i_domain="sync", o_domain=self._domain)
        # Two commands wait here: the next read is seen while one goes on.
        skid = Skid(command_layout(self._beat_bytes))
        m.submodules.skid = DomainRenamer(self._domain)(skid)
        wiring.connect(m, wiring.flipped(self.bus.command), handoff.i)
        wiring.connect(m, handoff.o, skid.i)
        wiring.connect(m, skid.o, wiring.flipped(self.command))
        m.submodules.queue = queue = CrossingQueue(
            beat_layout(self._beat_bytes), depth=self._beats, i_domain=self._domain,
            o_domain="sync")
        wiring.connect(m, wiring.flipped(self.data), queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.bus.data))
        m.d[self._domain] += self.room.eq(queue.level <= self._beats - self._margin)
        return m
