"""Agent in the place of a memory behind `MemorySignature`, in Amaranth's simulator."""

import collections
import itertools
import random
from collections.abc import Iterator

from tritstream_hw.memory.port import MOST_BEATS

__all__ = ["Memory"]


class Memory:
    """A memory that is as slow as it is told, and refuses what no user may ask.

    What it does not offer is noise.

    Parameters
    ----------
    bus
        The port, as the memory's user has it.
    content : list of list of int
        The bytes of each beat. Writes change it.
    latency : int
        Cycles from a read to its first beat, at least.
    idle : iterator of int, optional
        Cycles for which it pauses before each command and each beat, see `pysim.stalls`.

    Attributes
    ----------
    reads : list of tuple of int
        First beat and number of beats of each read so far.
    """

    def __init__(self, bus, content: list[list[int]], *, latency: int = 0,
                 idle: Iterator[int] | None = None):
        self.content = content
        self.reads: list[tuple[int, int]] = []
        self._command, self._data = bus.command, bus.data
        self._latency, self._idle = latency, idle or itertools.repeat(0)
        self._due = collections.deque()     # cycle and bytes of each beat that was asked for
        self._noise = random.Random(1)

    async def run(self, ctx) -> None:
        """Be the memory, for ever: a testbench in the background."""
        command, data = self._command, self._data
        ready = offered = False
        command_pause, beat_pause = next(self._idle), next(self._idle)
        for cycle in itertools.count():
            if ready != (command_pause == 0):
                ready = not ready
                ctx.set(command.ready, ready)
            if not offered and self._due and self._due[0][0] <= cycle:
                if beat_pause == 0:
                    self._offer(ctx, self._due[0][1])
                    offered = True
                beat_pause -= 1
            _, _, asked, what, taken = await ctx.tick().sample(
                command.valid, command.payload, data.ready)
            command_pause = max(0, command_pause - 1)
            if offered and taken:
                self._due.popleft()
                self._offer(ctx, None)
                offered, beat_pause = False, next(self._idle)
            if ready and asked:
                self._carry_out(what, cycle + 1)
                command_pause = next(self._idle)

    def _offer(self, ctx, beat: list[int] | None) -> None:
        ctx.set(self._data.valid, beat is not None)
        ctx.set(self._data.payload, self._noise.choices(range(256), k=len(self.content[0]))
                if beat is None else beat)

    def _carry_out(self, command, cycle: int) -> None:
        """Do what a command says; a read has what was written before it, and no more."""
        end = command.beat + command.beats
        assert 1 <= command.beats <= MOST_BEATS and end <= len(self.content), command
        if command.write:
            assert command.beats == 1, command
            self.content[command.beat] = list(command.data)
        else:
            self.reads.append((command.beat, command.beats))
            self._due += [(cycle + self._latency, beat) for beat in self.content[command.beat:end]]
