"""A response that is a stream of events, as they come."""

import asyncio
import contextlib
from collections.abc import Generator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tritstream.server.connection import CONNECTION
from tritstream.server.errors import Refused, server_ends

__all__ = ["EventStream", "gone"]

PING_SECONDS = 15.0         # behind which something is sent: some who pass it on give up the silent
PING = b": ping\r\n\r\n"


class EventStream(Response):
    """Server-sent events, which end when the client goes away.

    Those that can go at once do so in `set`, whoever calls that: to wake a task for each costs more
    than to make it.

    Parameters
    ----------
    events : generator of bytes or None
        One or more whole events at a time; None where there are none until `set` is called. It is
        closed in any case.
    """

    media_type = "text/event-stream"

    def __init__(self, events: Generator[bytes | None]):
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events
        self._sending = asyncio.Lock()
        self._connection = None
        self._stuck: asyncio.Future | None = None   # for what does not go at once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connection = scope.get("state", {}).get(CONNECTION)
        await send({"type": "http.response.start", "status": self.status_code,
                    "headers": self.raw_headers})
        with contextlib.closing(self._events):
            try:
                await self._all(receive, send)
            except asyncio.CancelledError:
                # Who does not take this either is left alone.
                with contextlib.suppress(asyncio.CancelledError, Refused):
                    await self._send(send, self._events.throw(server_ends()), more=False)

    async def _all(self, receive: Receive, send: Send) -> None:
        """Send what comes until it ends, or the client goes away."""
        watching = None
        try:
            async with asyncio.timeout(None) as there:
                watching = asyncio.create_task(self._watch(receive, send, there))
                while (part := await self._next()) is not None:
                    await self._send(send, part)
                await self._send(send, b"", more=False)
        except TimeoutError:
            if not there.expired():
                raise
        finally:
            if watching is not None:
                watching.cancel()

    def set(self) -> None:
        """Send what is there."""
        stuck = self._stuck
        if stuck is None or stuck.done():
            return                          # it is looked for behind what is being sent
        try:
            for part in self._events:
                if part is None:
                    return
                if self._connection is None or not self._connection.send_part(part):
                    stuck.set_result(part)
                    return
            stuck.set_result(None)
        except Exception as error:
            stuck.set_exception(error)

    async def _next(self) -> bytes | None:
        """Wait for a part that cannot go at once; None: all have gone."""
        self._stuck = asyncio.get_running_loop().create_future()
        self.set()
        return await self._stuck

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
