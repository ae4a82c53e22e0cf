"""How other threads wake what waits in the event loop, many at a time."""

import asyncio
import contextlib
from typing import Protocol

__all__ = ["Waker"]


class Settable(Protocol):
    """An `asyncio.Event`, or what is called in its place."""

    def set(self) -> None:
        """Do what has to be done when it happens; nothing fails here."""


class Waker:
    """Sets events of an event loop, from any thread.

    To wake a loop is a call of the system, and costs more than to make a token of the piece that
    it is woken for; so it is woken once for all that comes before it looks.

    Parameters
    ----------
    loop : AbstractEventLoop
        Whose events they are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._events: dict[Settable, None] = {}     # each once, however often it is to be set
        self._woken = False

    def set(self, event: Settable) -> None:
        """Set an event soon; where the loop has ended, nobody waits for it."""
        self.note(event)
        self.wake()

    def note(self, event: Settable) -> None:
        """Have an event set when the loop is woken next."""
        self._events[event] = None

    def wake(self) -> None:
        """Have all that is noted set soon."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        self._woken = False         # before it looks: what comes now wakes it again
        while self._events:
            self._events.popitem()[0].set()
