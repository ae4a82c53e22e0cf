"""The routes of the server."""

import asyncio
import hmac
import urllib.parse
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tritstream.errors import TritstreamError
from tritstream.server.completions import Completions
from tritstream.server.conversations import Conversations
from tritstream.server.errors import Refused, refusal, server_ends
from tritstream.server.metrics import Metrics
from tritstream.server.page import PAGE, Page
from tritstream.server.residence import Residence
from tritstream.server.status import Status
from tritstream.server.store import Store
from tritstream.support.checks import is_loopback

__all__ = ["application"]

OPEN = ("/health", *PAGE)   # what needs no key: those who watch over a server have none
METHODS = "GET", "POST", "DELETE"
WRONG_KEY = "The key is missing or wrong: give it as Authorization: Bearer KEY."
OTHER_PAGE = ("Pages of other servers may not use this one, but for those that --allow-origin "
              "names.")
OTHER_NAME = ("Without a key this server answers to names of its own machine only, as localhost: "
              "call it by one, or start it with --api-key-file.")


def application(residence: Residence, store: Store, *, key: str | None = None,
                origins: Collection[str] = ()) -> Starlette:
    """Return the application that serves models.

    Parameters
    ----------
    residence : Residence
        Has the models, of which one is on the device.
    store : Store
        Has the conversations, and outlives the residence.
    key : str or None
        What clients have to know; None: nothing.
    origins : collection of str
        Other servers whose pages may use this one, as browsers name them.
    """
    metrics, page = Metrics(), Page()
    completions = Completions(residence, store, metrics)
    conversations = Conversations(residence, store)
    status = Status(residence, metrics)

    routes = [
        Route("/health", status.health), Route("/metrics", status.metrics),
        Route("/props", status.props), Route("/slots", status.slots),
        Route("/stages", status.stages), Route("/v1/models", status.models),
        Route("/v1/models/{id:path}", status.model),
        Route("/v1/completions", completions.complete, methods=["POST"]),
        Route("/v1/chat/completions", completions.chat, methods=["POST"]),
        Route("/v1/conversations", conversations.all, methods=["GET", "POST"]),
        Route("/v1/conversations/{id}", conversations.one, methods=["GET", "DELETE"]),
        Route("/v1/conversations/{id}/state", conversations.state),
        Route("/v1/conversations/{id}/fork", conversations.fork, methods=["POST"]),
        *(Route(path, page.file) for path in PAGE),
    ]
    errors = Refused, TritstreamError, HTTPException, ClientDisconnect, Exception
    others = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=METHODS,
                        allow_headers=["Authorization"])
    return Starlette(routes=[_guarded(route, key, origins) for route in routes],
                     middleware=[others] if origins else [],
                     exception_handlers=dict.fromkeys(errors, _told))


async def _told(request: Request, error: Exception) -> Response:
    """Answer a request that ends with an error; were this no coroutine, a thread would run it."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)        # nobody reads it
    return refusal(_refused(request, error))


def _refused(request: Request, error: Exception) -> Refused:
    """Return what a client is told of an error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TritstreamError):
        return Refused.of(error)
    if not isinstance(error, HTTPException):
        return Refused(500, f"This is a fault of the server: {type(error).__name__}.")
    path = request.url.path[:100]
    if error.status_code == 404:
        return Refused(404, f"There is nothing at {path}.")
    return Refused(error.status_code, f"{path} does not take {request.method[:20]}.")


def _host_of(request: Request) -> str:
    """Name or address by which the client calls the server."""
    try:
        return urllib.parse.urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _guarded(route: Route, key: str | None, origins: Collection[str]) -> Route:
    """Return a route that asks for the key, and that pages of no others but `origins` can use."""
    endpoint = route.endpoint

    async def guarded(request: Request):
        origin = request.headers.get("origin")
        own = request.headers.get("host")
        if origin and origin not in origins and origin.partition("://")[2] != own:
            raise Refused(403, OTHER_PAGE)
        # A page elsewhere may have had its own name lead here meanwhile.
        if key is None and not is_loopback(_host_of(request)):
            raise Refused(403, OTHER_NAME)
        if key is not None and route.path not in OPEN:
            given = request.headers.get("authorization", "")
            if given[:7].lower() == "bearer ":
                given = given[7:]
            if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode()):
                raise Refused(401, WRONG_KEY)
        try:
            return await endpoint(request)
        except asyncio.CancelledError:
            raise server_ends() from None

    return Route(route.path, guarded, methods=route.methods)
