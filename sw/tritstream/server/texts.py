"""All texts of a response, read side by side as they are made."""

import asyncio
from collections.abc import Callable, Iterator

from tritstream.server.text import Text
from tritstream.server.waker import Waker

__all__ = ["Texts"]


class Texts(list[Text]):
    """Texts, and what tells that there is more of one.

    Parameters
    ----------
    waker : Waker
        Of the event loop in which they are read.

    Attributes
    ----------
    news : Event
        Set when there is more to read; or whatever else has a method `set`, which is called in the
        event loop.
    """

    def __init__(self, waker: Waker):
        super().__init__()
        self._waker = waker
        self.news = asyncio.Event()

    @property
    def read_out(self) -> bool:
        """Whether all have ended, and are read."""
        return all(text.read_out for text in self)

    def tell(self) -> Callable[[], None]:
        """Note, in any thread, that there is more of one of them.

        Returns
        -------
        callable
            Has all that is noted looked at; the same for all texts.
        """
        self._waker.note(self.news)
        return self._waker.wake

    def arrivals(self) -> Iterator[Text | None]:
        """Yield each text that has something to read, in turns, until all are read out.

        None says that there is nothing to read until there are `news`. What comes while others have
        their turns, or while a client takes its time, is there together in the next one.
        """
        left = list(self)
        while left:
            for text in left:
                if text.waits:
                    yield text
            left = [text for text in left if not text.read_out]
            if left:
                if any(text.waits for text in left):    # more than was read at a time
                    self.tell()()
                yield None
