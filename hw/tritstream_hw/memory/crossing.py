"""The memory port from one clock to another."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import MemorySignature, beat_layout, command_layout

__all__ = ["MemoryCrossing"]

COMMANDS = 4                # that wait: enough to see the next read while one goes on


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
        command, beat = self.bus.command, self.bus.data
        m.submodules.commands = commands = AsyncFIFOBuffered(
            width=len(command.payload.as_value()), depth=COMMANDS + 1, w_domain="sync",
            r_domain=self._domain)
        m.submodules.beats = beats = AsyncFIFOBuffered(
            width=len(beat.payload.as_value()), depth=self._beats + 1, w_domain=self._domain,
            r_domain="sync")
        m.d.comb += [
            commands.w_data.eq(command.payload),
            commands.w_en.eq(command.valid),
            command.ready.eq(commands.w_rdy),
            self.command.payload.eq(commands.r_data),
            self.command.valid.eq(commands.r_rdy),
            commands.r_en.eq(self.command.ready),
            beats.w_data.eq(self.data.payload),
            beats.w_en.eq(self.data.valid),
            beat.payload.eq(beats.r_data),
            beat.valid.eq(beats.r_rdy),
            beats.r_en.eq(beat.ready),
        ]
        m.d[self._domain] += Assert(beats.w_rdy | ~self.data.valid)
        m.d[self._domain] += self.room.eq(beats.w_level <= self._beats - self._margin)
        return m
