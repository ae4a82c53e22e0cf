"""What other threads tell the event loop, many things at a time."""

import asyncio
import collections
import contextlib

__all__ = ["Mailbox"]


class Mailbox:
    """Puts things into queues of an event loop, from any thread.

    To wake a loop is a call of the system, and costs more than to make a token of the piece that
    it is woken for; so it is woken once for all that comes before it looks.

    Parameters
    ----------
    loop : AbstractEventLoop
        Whose queues they are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._things: collections.deque = collections.deque()
        self._woken = False

    def put(self, queue: asyncio.Queue, thing: object) -> None:
        """Put something into a queue soon; where the loop has ended, nobody waits for it."""
        self._things.append((queue, thing))
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False         # before it looks: what comes now wakes it again
        while self._things:
            queue, thing = self._things.popleft()
            queue.put_nowait(thing)
