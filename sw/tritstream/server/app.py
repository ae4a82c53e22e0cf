"""The routes of the server."""

import asyncio
import dataclasses
import hmac
import urllib.parse

from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.analysis.profile import StageProfile, latest
from tritstream.errors import TritstreamError
from tritstream.runtime.language_model import LanguageModel
from tritstream.runtime.scheduler import Scheduler
from tritstream.server.completions import Completions
from tritstream.server.conversations import Conversations
from tritstream.server.errors import Refused, refusal
from tritstream.server.metrics import Metrics
from tritstream.server.page import PAGE, Page
from tritstream.server.store import Store

__all__ = ["application"]

OPEN = ("/health", *PAGE)   # what needs no key: those who watch over a server have none
WRONG_KEY = "The key is missing or wrong: give it as Authorization: Bearer KEY."
OTHER_PAGE = "Pages of other servers may not use this one."


def application(model: LanguageModel, name: str, scheduler: Scheduler, store: Store, *,
                key: str | None = None) -> Starlette:
    """Return the application that serves a model.

    Parameters
    ----------
    model : LanguageModel
        Open on its device.
    name : str
        What clients call it.
    scheduler : Scheduler
        Has the engine of the model.
    store : Store
        Has the conversations, and outlives the scheduler.
    key : str or None
        What clients have to know; None: nothing.
    """
    # A stream that is under way at a SIGTERM comes to its end, like everything else.
    AppStatus.disable_automatic_graceful_drain()
    metrics, page = Metrics(), Page()
    completions = Completions(model, name, scheduler, store, metrics)
    conversations = Conversations(name, model.source.tokenizer_if_any, scheduler, store)

    async def health(request: Request):
        return JSONResponse({"status": "ok", "device": "failed" if scheduler.broken else "ok"})

    async def models(request: Request):
        entry = {"id": name, "object": "model", "created": 0, "owned_by": "tritstream",
                 "chat": model.source.chat_template is not None}
        return JSONResponse({"object": "list", "data": [entry]})

    async def props(request: Request):
        engine, template = scheduler.engine, model.source.chat_template
        return JSONResponse({
            "model": name, "model_digest": engine.model, "device": engine.name,
            "evidence": engine.evidence, "lanes": engine.lanes, "candidates": engine.kept,
            "vocab": engine.vocab, "clock_hz": engine.clock_hz,
            "chat_template": None if template is None else template.source})

    async def slots(request: Request):
        active, waiting = scheduler.load
        return JSONResponse({"active": active, "waiting": waiting, "lanes": scheduler.engine.lanes})

    async def stages(request: Request):
        found = await asyncio.wrap_future(scheduler.between(latest))
        engine = scheduler.engine
        return JSONResponse({"device": engine.name, "evidence": engine.evidence,
                             "clock_hz": engine.clock_hz,
                             "stages": [_stage(stage) for stage in found]})

    async def prometheus(request: Request):
        active, waiting = scheduler.load
        engine = scheduler.engine
        gauges = {"active_texts": active, "waiting_texts": waiting, "lanes": engine.lanes}
        if engine.cycles is not None:
            gauges |= {"device_cycles": engine.cycles, "device_stalls": engine.stalls}
        return PlainTextResponse(metrics.text(**gauges), media_type="text/plain; version=0.0.4")

    routes = [
        Route("/health", health), Route("/metrics", prometheus), Route("/props", props),
        Route("/slots", slots), Route("/stages", stages), Route("/v1/models", models),
        Route("/v1/completions", completions.complete, methods=["POST"]),
        Route("/v1/chat/completions", completions.chat, methods=["POST"]),
        Route("/v1/conversations", conversations.all, methods=["GET", "POST"]),
        Route("/v1/conversations/{id}", conversations.one, methods=["GET", "DELETE"]),
        Route("/v1/conversations/{id}/state", conversations.state),
        Route("/v1/conversations/{id}/fork", conversations.fork, methods=["POST"]),
        *(Route(path, page.file) for path in PAGE),
    ]
    return Starlette(routes=[_guarded(route, key) for route in routes], exception_handlers={
        Refused: lambda request, error: refusal(error),
        TritstreamError: lambda request, error: refusal(Refused.of(error)),
        HTTPException: lambda request, error: refusal(Refused(error.status_code, error.detail)),
        Exception: lambda request, error: refusal(Refused(500, "This is a fault of the server: "
                                                          f"{type(error).__name__}.")),
    })


def _stage(stage: StageProfile) -> dict:
    kind = kind_of(stage.name)
    return dataclasses.asdict(stage) | {"kind": kind, "does": KINDS[kind]}


def _guarded(route: Route, key: str | None) -> Route:
    """Return a route that asks for the key, and that no page of another server can use."""
    endpoint = route.endpoint

    async def guarded(request: Request):
        origin = request.headers.get("origin")
        if origin and urllib.parse.urlsplit(origin).netloc != request.headers.get("host"):
            raise Refused(403, OTHER_PAGE)
        if key is not None and route.path not in OPEN:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode()):
                raise Refused(401, WRONG_KEY)
        return await endpoint(request)

    return Route(route.path, guarded, methods=route.methods)
