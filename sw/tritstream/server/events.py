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
        tasks = sending, _ = (asyncio.create_task(self._send(send)),
                              asyncio.create_task(gone(receive)))
        try:
            while not any(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=PING_SECONDS,
                                   return_when=asyncio.FIRST_COMPLETED)
                async with self._sending:
                    if not any(task.done() for task in tasks):
                        await send(_part(PING))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._events) as events:
            async for part in events:
                async with self._sending:
                    await send(_part(part))
        await send(_part(b"", more=False))


def _part(body: bytes, *, more: bool = True) -> dict:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def gone(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
