"""``/v1/completions``: texts of a scheduler as responses, whole or as a stream."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tritstream.errors import BadInput, TritstreamError
from tritstream.runtime.language_model import LanguageModel
from tritstream.runtime.pieces import Pieces
from tritstream.runtime.scheduler import Scheduler
from tritstream.server.errors import Refused
from tritstream.server.metrics import Metrics
from tritstream.server.request import CompletionRequest, read_body

__all__ = ["Completions"]


class _Text:
    """One choice: a text of the scheduler as pieces, in the event loop."""

    def __init__(self, completions: "Completions", asked: CompletionRequest, prompt: list[int],
                 number: int):
        model = completions.model
        self.number = number
        self.prompt = prompt
        self.engine = model.engine
        self.tokenizer = model.source.tokenizer_if_any
        self.pieces = Pieces(self.tokenizer, prompt, asked.stop_texts)
        self.pending: list[int] = []        # tokens that are made, whose piece is not yet asked for
        loop, events = asyncio.get_running_loop(), asyncio.Queue()
        self._events = events
        self.answer = completions.scheduler.submit(
            prompt, asked.max_tokens, asked.sampler(number),
            tell=lambda event: loop.call_soon_threadsafe(events.put_nowait, event))

    async def __aiter__(self) -> AsyncIterator[str]:
        while isinstance(event := await self._events.get(), int):
            yield self.pieces.push(event)
            if self.pieces.stopped:
                self.answer.cancel()
                return
        if isinstance(event, TritstreamError):
            raise Refused.of(event) from event
        if event is not None:
            raise event
        if rest := self.pieces.finish():
            yield rest

    @property
    def finish_reason(self) -> str:
        """Why it ends where it does."""
        last = next(reversed(self.answer.tokens), None)
        return "stop" if self.pieces.stopped or last in self.engine.stop_tokens else "length"

    def log_probabilities(self, count: int, start: int) -> dict:
        """Those of the tokens from `start` on, and of the `count` best beside each."""
        table = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        made = zip(self.answer.tokens[start:], self.answer.candidates[start:], strict=False)
        for token, candidates in made:
            all_of = dict(zip(candidates.tokens, candidates.log_probabilities, strict=True))
            table["tokens"].append(self._name(token))
            table["token_logprobs"].append(all_of[token])
            table["top_logprobs"].append({self._name(other): all_of[other]
                                          for other in candidates.tokens[:count]})
        return table

    def _name(self, token: int) -> str:
        return self.tokenizer.decode([token]) if self.tokenizer else str(token)


class Completions:
    """Makes texts for clients.

    Parameters
    ----------
    model : LanguageModel
        The model, for its tokenizer and engine.
    name : str
        What clients call it.
    scheduler : Scheduler
        Has the engine.
    metrics : Metrics
        Counts.
    """

    def __init__(self, model: LanguageModel, name: str, scheduler: Scheduler, metrics: Metrics):
        self.model = model
        self.name = name
        self.scheduler = scheduler
        self.metrics = metrics

    async def respond(self, request: Request) -> Response:
        """Answer a request."""
        asked = await read_body(request, CompletionRequest)
        if asked.model not in (None, self.name):
            raise Refused(404, f"There is no model {asked.model[:100]!r} here, only {self.name}.",
                          "model")
        texts: list[_Text] = []
        try:
            for prompt in asked.prompts:
                tokens = await asyncio.to_thread(self._tokens, prompt)
                for _ in range(asked.n):
                    texts.append(_Text(self, asked, tokens, len(texts)))
        except TritstreamError as error:
            for text in texts:
                text.answer.cancel()
            raise Refused.of(error) from error
        self.metrics.count(requests=1, prompt_tokens=sum(len(text.prompt) for text in texts))
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion",
                "created": int(time.time()), "model": self.name}
        if asked.stream:
            return EventSourceResponse(self._stream(asked, texts, head), ping=15)
        return await self._whole(request, asked, texts, head)

    def _tokens(self, prompt: str | list[int]) -> list[int]:
        if isinstance(prompt, list):
            return prompt
        if not prompt:
            raise BadInput("The prompt is empty; give at least one character.")
        return self.model.tokenizer.encode(prompt)

    async def _whole(self, request: Request, asked: CompletionRequest, texts: list[_Text],
                     head: dict) -> Response:
        began = time.perf_counter()
        making = [asyncio.create_task(_read(text)) for text in texts]
        watching = asyncio.create_task(_gone(request))
        try:
            done = asyncio.gather(*making)
            await asyncio.wait((done, watching), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                return Response(status_code=499)        # nobody reads it
            await done
        finally:
            watching.cancel()
            self._end(texts, making)
        choices = []
        for text in texts:
            echo = self._echo(asked, text)
            choices.append({"index": text.number, "text": echo + text.pieces.text,
                            "finish_reason": text.finish_reason,
                            "logprobs": None if asked.logprobs is None else
                            text.log_probabilities(asked.logprobs, 0)})
        return JSONResponse(head | {"choices": choices, "usage": self._usage(texts),
                                    "timings": self._timings(texts, began)})

    def _echo(self, asked: CompletionRequest, text: _Text) -> str:
        if not asked.echo:
            return ""
        return text.tokenizer.decode(text.prompt) if text.tokenizer else ""

    async def _stream(self, asked: CompletionRequest, texts: list[_Text], head: dict):
        """Yield the events of a stream; a client that goes away ends its texts."""
        began = time.perf_counter()
        events: asyncio.Queue = asyncio.Queue()
        tasks = [asyncio.create_task(_forward(text, events)) for text in texts]
        left = len(tasks)
        try:
            for text in texts:
                if echo := self._echo(asked, text):
                    yield _event(head, text, echo, None, None)
            sent = dict.fromkeys(range(len(texts)), 0)
            while left:
                text, piece, error = await events.get()
                if error is not None:
                    refused = error if isinstance(error, Refused) else Refused(500, str(error))
                    yield json.dumps(refused.table)
                    return
                left -= piece is None
                if piece == "" and asked.logprobs is None:
                    continue
                logprobs = None
                if asked.logprobs is not None:
                    logprobs = text.log_probabilities(asked.logprobs, sent[text.number])
                    sent[text.number] = len(logprobs["tokens"]) + sent[text.number]
                reason = text.finish_reason if piece is None else None
                yield _event(head, text, piece or "", reason, logprobs)
            if asked.usage:
                yield json.dumps(head | {"choices": [], "usage": self._usage(texts),
                                         "timings": self._timings(texts, began)})
            yield "[DONE]"
        finally:
            self._end(texts, tasks)

    def _end(self, texts: list[_Text], tasks: list[asyncio.Task]) -> None:
        """End what is still being made: nobody reads it any more."""
        for text, task in zip(texts, tasks, strict=True):
            text.answer.cancel()
            task.cancel()
        self.metrics.count(tokens=sum(len(text.answer.tokens) for text in texts))

    def _usage(self, texts: list[_Text]) -> dict:
        prompt = sum(len(text.prompt) for text in texts)
        made = sum(len(text.answer.tokens) for text in texts)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def _timings(self, texts: list[_Text], began: float) -> dict:
        seconds = time.perf_counter() - began
        made = sum(len(text.answer.tokens) for text in texts)
        digests = [text.answer.conversation.digest for text in texts]
        return {"seconds": seconds, "tokens_per_second": made / seconds if seconds else None,
                "evidence": "measured", "device": self.model.engine.name,
                "digests": [None if digest is None else f"{digest:08x}" for digest in digests]}


def _event(head: dict, text: _Text, piece: str, reason: str | None, logprobs) -> str:
    choice = {"index": text.number, "text": piece, "finish_reason": reason, "logprobs": logprobs}
    return json.dumps(head | {"choices": [choice]}, ensure_ascii=False)


async def _read(text: _Text) -> None:
    async for _ in text:
        pass


async def _forward(text: _Text, events: asyncio.Queue) -> None:
    """Put each piece of a text, None at its end, or its error, among the events of a response."""
    try:
        async for piece in text:
            events.put_nowait((text, piece, None))
        events.put_nowait((text, None, None))
    except Exception as error:
        events.put_nowait((text, None, error))


async def _gone(request: Request) -> None:
    """Wait until the client has gone away."""
    with contextlib.suppress(RuntimeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
