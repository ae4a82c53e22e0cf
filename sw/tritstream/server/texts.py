"""All texts of a response, read side by side as they are made."""

import asyncio
from collections.abc import AsyncIterator

from tritstream.server.text import Text
from tritstream.server.waker import Waker

__all__ = ["Texts"]


class Texts(list[Text]):
    """Texts, and what tells that there is more of one.

    Parameters
    ----------
    waker : Waker
        Of the event loop in which they are read.
    """

    def __init__(self, waker: Waker):
        super().__init__()
        self._waker = waker
        self._news = asyncio.Event()

    @property
    def read_out(self) -> bool:
        """Whether all have ended, and are read."""
        return all(text.read_out for text in self)

    def tell(self) -> None:
        """Say, in any thread, that there is more of one of them."""
        self._waker.set(self._news)

    async def arrivals(self) -> AsyncIterator[Text]:
        """Yield each text that has something to read, in turns, until all are read out.

        What comes while others have their turns, or while a client takes its time, is there
        together in the next one.
        """
        left = list(self)
        while left:
            await self._news.wait()
            self._news.clear()
            for text in left:
                if text.waits:
                    yield text
            left = [text for text in left if not text.read_out]
            if any(text.waits for text in left):        # more than was read at a time
                self._news.set()
                await asyncio.sleep(0)
