"""``/v1/conversations``: those that are kept, as files that go on anywhere."""

import asyncio
import contextlib

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from tritstream.engines.state import State, digest_text
from tritstream.errors import TritstreamError
from tritstream.model.tokenizer import Detokenizer, Tokenizer
from tritstream.runtime.history import History
from tritstream.runtime.scheduler import Answer, Scheduler
from tritstream.server.events import gone
from tritstream.server.request import ConversationRequest, ForkRequest, read_body, read_bytes
from tritstream.server.residence import Residence, Served
from tritstream.server.store import Kept, Store

__all__ = ["Conversations"]

BYTES = "application/octet-stream"
MOST_FORKS = 4              # that look for their places at the same time


class Conversations:
    """The conversations of a server, for its clients.

    Parameters
    ----------
    residence : Residence
        Has the models, and takes tokens again on the way to an earlier place.
    store : Store
        Has them.
    """

    def __init__(self, residence: Residence, store: Store):
        self._residence = residence
        self._store = store
        self._forks = asyncio.Semaphore(MOST_FORKS)

    async def all(self, request: Request) -> Response:
        """List them, or make another: empty, or as the file in the body has it."""
        if request.method in ("GET", "HEAD"):
            found = await asyncio.to_thread(self._store.all)
            return JSONResponse({"object": "list", "data": [self._entry(kept) for kept in found]})
        if request.headers.get("content-type", "").partition(";")[0].strip() == BYTES:
            data = await read_bytes(request, self._store.most_bytes)
            state = await asyncio.to_thread(State.from_bytes, data, "The file")
        else:
            asked = await read_body(request, ConversationRequest, b"{}")
            state = self._residence.find(asked.model).beginning
        return self._entry_of(await asyncio.to_thread(self._store.create, state))

    async def one(self, request: Request) -> Response:
        """Show one, or delete it."""
        kept = self._found(request)
        if request.method == "DELETE":
            await asyncio.to_thread(self._store.delete, kept)
            return JSONResponse({"id": kept.id, "object": "conversation.deleted", "deleted": True})
        state = (await asyncio.to_thread(self._store.history, kept)).state
        return JSONResponse(self._entry(kept) | await asyncio.to_thread(
            _contents, state, self._served(kept).tokenizer))

    async def state(self, request: Request) -> Response:
        """Give the file of one."""
        kept = self._found(request)
        state = (await asyncio.to_thread(self._store.history, kept)).state
        return Response(await asyncio.to_thread(state.to_bytes), media_type=BYTES, headers={
            "Content-Disposition": f'attachment; filename="{kept.path.name}"'})

    async def fork(self, request: Request) -> Response:
        """Make another that is where this one is, or was."""
        kept = self._found(request)
        asked = await read_body(request, ForkRequest)
        history = await asyncio.to_thread(self._store.history, kept)
        state = history.state
        if asked.tokens is not None:
            async with self._forks, self._residence.use(self._served(kept)) as use:
                state = await _before(request, history, asked.tokens, use.resident.scheduler)
        return self._entry_of(await asyncio.to_thread(self._store.create, state))

    def _found(self, request: Request) -> Kept:
        return self._store.find(request.path_params["id"])

    def _entry_of(self, kept: Kept) -> Response:
        return JSONResponse(self._entry(kept))

    def _served(self, kept: Kept) -> Served | None:
        return self._store.served(kept.model)

    def _entry(self, kept: Kept) -> dict:
        served = self._served(kept)
        tokenizer = None if served is None else served.tokenizer
        return {"id": kept.id, "object": "conversation", "created_at": kept.created,
                "used_at": int(kept.used), "model": None if served is None else served.name,
                "tokens": kept.tokens, "digest": digest_text(kept.digest), "busy": kept.busy,
                "begins": "" if tokenizer is None else tokenizer.decode(kept.beginning)}


async def _before(request: Request, history: History, count: int,
                  scheduler: Scheduler) -> State:
    """Look for an earlier place in a thread, which ends early if nobody waits for it any more."""
    left, begun = False, []

    def begins(answer: Answer) -> None:
        begun.append(answer)
        if left:
            answer.cancel()

    looking = asyncio.create_task(asyncio.to_thread(history.before, count, scheduler,
                                                    begun=begins))
    watching = asyncio.create_task(gone(request.receive))
    try:
        await asyncio.wait((looking, watching), return_when=asyncio.FIRST_COMPLETED)
        if not looking.done():
            raise ClientDisconnect
        return await looking
    finally:
        watching.cancel()
        left = True
        for answer in begun:
            answer.cancel()
        with contextlib.suppress(TritstreamError):
            await looking


def _contents(state: State, tokenizer: Tokenizer | None) -> dict:
    """The tokens, which of them the model made, and the piece of text of each."""
    made = [False, *(bool(head) for head in state.heads)][:len(state.text)]
    made += [False] * (len(state.text) - len(made))
    pieces = []
    if tokenizer is not None and state.text:
        detokenizer = Detokenizer(tokenizer)
        pieces = [detokenizer.push(token) for token in state.text]
        pieces[-1] += detokenizer.finish()
    return {"token_ids": state.text, "made": made, "pieces": pieces, "text": "".join(pieces)}
