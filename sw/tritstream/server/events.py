"""A response that is a stream of events, as they come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["EventStream", "gone"]

PING_SECONDS = 15.0         # behind which something is sent: some who pass it on give up the silent
PING = b": ping\r\n\r\n"


class EventStream(Response):
    """Server-sent events, which end when the client goes away.

    Parameters
    ----------
    events : async generator of bytes
        One or more whole events at a time; closed in any case.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]):
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code,
                    "headers": self.raw_headers})
        watching = None
        try:
            async with asyncio.timeout(None) as there, contextlib.aclosing(self._events) as events:
                watching = asyncio.create_task(self._watch(receive, send, there))
                async for part in events:
                    await self._send(send, part)
                await self._send(send, b"", more=False)
        except TimeoutError:
            if not there.expired():
                raise
        finally:
            if watching is not None:
                watching.cancel()

    async def _watch(self, receive: Receive, send: Send, there: asyncio.Timeout) -> None:
        """Break the silence, and end what is sent when the client is no longer there."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await gone(receive)
                    break
            await self._send(send, PING)
        there.reschedule(asyncio.get_running_loop().time())

    async def _send(self, send: Send, part: bytes, *, more: bool = True) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": part, "more_body": more})


async def gone(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
