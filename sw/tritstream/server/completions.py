"""``/v1/completions``, ``/v1/chat/completions``: texts of a scheduler as responses or streams."""

import asyncio
import contextlib
import functools
import json
import random
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tritstream.engines.state import digest_text
from tritstream.errors import TritstreamError
from tritstream.server.clock import Clock
from tritstream.server.errors import Refused
from tritstream.server.events import EventStream, gone
from tritstream.server.forms import ChatForm, CompletionForm, Form
from tritstream.server.metrics import Metrics
from tritstream.server.request import (
    MOST_LOGGED,
    MOST_STOPS,
    MOST_TEXTS,
    ChatRequest,
    CompletionRequest,
    TextRequest,
    read_body,
)
from tritstream.server.residence import Residence, Served, Use
from tritstream.server.store import Store
from tritstream.server.text import Text, Turn
from tritstream.server.texts import Texts
from tritstream.server.waker import Waker

__all__ = ["Completions"]

EVENT_TOKENS = 64           # that go out together, where they are made faster than they are taken
SHORT = 1_000               # letters of a prompt that are tokens sooner than a thread has begun

_json = json.JSONEncoder(ensure_ascii=False).encode     # `json.dumps` makes one each time

MARK = "\0"                 # stands for a piece, of which there is none like it
EVENT_END = "\r\n\r\n"
COUNTS = "prompt_tokens", "completion_tokens", "total_tokens"
USAGE = ', "usage": {{{}}}'.format(", ".join(f'"{name}": %d' for name in COUNTS))

ONE_TEXT = "A conversation goes on by one text: give one prompt, and no n."


class Completions:
    """Makes texts for clients.

    Parameters
    ----------
    residence : Residence
        Has the models, and the device.
    store : Store
        Has the conversations.
    metrics : Metrics
        Counts.
    """

    def __init__(self, residence: Residence, store: Store, metrics: Metrics):
        self._residence = residence
        self._store = store
        self._metrics = metrics

    @functools.cached_property
    def _waker(self) -> Waker:
        return Waker(asyncio.get_running_loop())

    async def complete(self, request: Request) -> Response:
        """Answer a request for texts that go on from prompts."""
        asked = await read_body(request, CompletionRequest)
        _check(asked)
        count = len(asked.prompts)
        if count > MOST_TEXTS:
            raise Refused(400, f"There are {count:,} prompts: give at most {MOST_TEXTS}.",
                          "prompt")
        if count * asked.n > MOST_TEXTS:
            raise Refused(400, f"{count} prompts with {asked.n} texts each are "
                          f"{count * asked.n:,} texts: ask for at most {MOST_TEXTS}.", "n")
        if asked.conversation is not None and len(asked.prompts) > 1:
            raise Refused(400, ONE_TEXT, "prompt")
        async with self._place(asked) as (use, turn):
            served = use.resident.served
            prompts = [await _tokens(served, prompt, turn) for prompt in asked.prompts]
            texts = self._texts(use, asked, [prompt for prompt in prompts for _ in range(asked.n)],
                                turn)
        echo = ["" if not asked.echo or served.tokenizer is None
                else served.tokenizer.decode(text.prompt) for text in texts]
        return await self._respond(request, asked, use, texts, CompletionForm, echo)

    async def chat(self, request: Request) -> Response:
        """Answer a request for what the model says in a chat."""
        asked = await read_body(request, ChatRequest)
        _check(asked)
        messages = [each.message for each in asked.messages]
        async with self._place(asked, chat=True) as (use, turn):
            before = turn.start.text if turn else ()
            prompt = await asyncio.to_thread(use.resident.served.source.chat_tokens, messages,
                                             before)
            texts = self._texts(use, asked, [prompt] * asked.n, turn)
        return await self._respond(request, asked, use, texts, ChatForm, [""] * len(texts))

    @contextlib.asynccontextmanager
    async def _place(self, asked: TextRequest, *, chat: bool = False):
        """Have the model on the device, and the conversation that goes on, if any, to oneself."""
        if asked.conversation is None:
            served = self._residence.find(asked.model)
            _check_template(served, chat)
            async with self._residence.use(served) as use:
                yield use, None
            return
        if asked.n > 1:
            raise Refused(400, ONE_TEXT, "n")
        kept = self._store.find(asked.conversation)
        history = await asyncio.to_thread(self._store.begin, kept)
        turn = Turn(self._store, kept, history.state)
        with _given_back(turn):
            served = self._store.served(history.state.model)
            if asked.model is not None and self._residence.find(asked.model) is not served:
                raise Refused(400, f"Conversation {kept.id} is one with {served.name}, not with "
                              f"{asked.model}: name that, or no model.", "model")
            _check_template(served, chat)
            async with self._residence.use(served) as use:
                yield use, turn

    def _texts(self, use: Use, asked: TextRequest, prompts: list[list[int]],
               turn: Turn | None) -> Texts:
        """Ask for a text for each of the prompts."""
        texts = Texts(self._waker)
        try:
            for prompt in prompts:
                texts.append(Text(use.resident, texts.tell, asked, prompt, len(texts), turn))
        except TritstreamError:
            for text in texts:
                text.answer.cancel()
            raise
        self._metrics.count(requests=1, prompt_tokens=sum(map(len, prompts)))
        return texts

    # Responses.

    async def _respond(self, request: Request, asked: TextRequest, use: Use, texts: Texts,
                       form: Form, echo: list[str]) -> Response:
        head = {"id": f"{form.prefix}-{random.getrandbits(128):032x}", "created": int(time.time()),
                "model": use.resident.served.name,
                "object": form.part if asked.stream else form.whole}
        if asked.log_probabilities is not None:
            head["logprobs_among"] = f"{use.resident.scheduler.engine.kept} candidates"
        clock = Clock(use)
        if asked.stream:
            texts.news = EventStream(self._stream(asked, texts, head, clock, form, echo))
            return texts.news
        return await self._whole(request, asked, texts, head, clock, form, echo)

    async def _whole(self, request: Request, asked: TextRequest, texts: Texts, head: dict,
                     clock: Clock, form: Form, echo: list[str]) -> Response:
        reading = asyncio.create_task(_read(texts))
        watching = asyncio.create_task(gone(request.receive))
        try:
            await asyncio.wait((reading, watching), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return Response(status_code=499)        # nobody reads it
            await reading
        finally:
            watching.cancel()
            reading.cancel()
            self._end(texts)
        choices, logprobs = [], asked.log_probabilities
        for text, before in zip(texts, echo, strict=True):
            table = None if logprobs is None else form.log_probabilities(text, logprobs, 0)
            choices.append(form.choice(text, before + text.pieces.text, text.finish_reason, table))
        return JSONResponse(head | {"choices": choices, "usage": _usage(texts),
                                    "timings": clock.timings(texts)} | _place(texts))

    def _stream(self, asked: TextRequest, texts: Texts, head: dict, clock: Clock,
                form: Form, echo: list[str]):
        """Yield the events of a stream; a client that goes away ends its texts.

        None where there is nothing until there are news of the texts.
        """
        event_of = _events(head)
        logprobs, most = asked.log_probabilities, 1 if asked.timings_per_token else EVENT_TOKENS
        pieces = [PieceEvents(event_of, form, text) for text in texts]
        bare = logprobs is None and not asked.timings_per_token
        usage_of_events = asked.usage_of_events
        try:
            for text, before in zip(texts, echo, strict=True):
                if first := form.first(text):
                    yield event_of({"choices": [first]})
                if before:
                    yield event_of({"choices": [form.piece(text, before, None, None)]})
            for text in texts.arrivals():
                if text is None:
                    yield None
                    continue
                start = text.read_tokens
                piece = text.read(most)
                if not piece and logprobs is None and not text.read_out:
                    continue
                if bare and not text.read_out:
                    yield pieces[text.number].of(piece, texts if usage_of_events else None)
                    continue
                table = None if logprobs is None else form.log_probabilities(text, logprobs, start)
                reason = text.finish_reason if text.read_out else None
                more = _place(texts) if text.read_out else {}
                if asked.timings_per_token:
                    more["timings"] = clock.timings(texts)
                if usage_of_events:
                    more["usage"] = _usage(texts)
                choice = form.piece(text, piece, reason, table)
                event = event_of({"choices": [choice]} | more)
                if not texts.read_out:
                    yield event
            if asked.usage:
                event += event_of({"choices": [], "usage": _usage(texts),
                                   "timings": clock.timings(texts)})
            yield event + b"data: [DONE]\r\n\r\n"
        except Exception as error:
            refused = error if isinstance(error, Refused) else Refused(500, str(error))
            yield _event(_json(refused.table))
        finally:
            self._end(texts)

    def _end(self, texts: Texts) -> None:
        """End what is still being made: nobody reads it any more."""
        for text in texts:
            text.answer.cancel()
        self._metrics.count(tokens=sum(len(text.answer.tokens) for text in texts))


def _check(asked: TextRequest) -> None:
    if asked.log_probabilities is not None and asked.max_tokens > MOST_LOGGED:
        raise Refused(400, f"Log probabilities are given for at most {MOST_LOGGED:,} tokens of a "
                      f"text, not {asked.max_tokens:,}.", "max_tokens")
    if len(asked.stop_texts) > MOST_STOPS:
        raise Refused(400, f"There are {len(asked.stop_texts):,} stop texts: give at most "
                      f"{MOST_STOPS}.", "stop")


def _check_template(served: Served, chat: bool) -> None:
    if chat and served.source.chat_template is None:
        raise Refused(400, f"{served.name} has no chat template: it goes on from texts, for which "
                      "there is /v1/completions.")


async def _tokens(served: Served, prompt: str | list[int], turn: Turn | None) -> list[int]:
    if len(prompt) <= SHORT:
        return _encode(served, prompt, turn)
    return await asyncio.to_thread(_encode, served, prompt, turn)


def _encode(served: Served, prompt: str | list[int], turn: Turn | None) -> list[int]:
    """Tokens of a prompt; there need not be any behind a token that is pending."""
    goes_on = turn is not None and bool(turn.start.text)
    if isinstance(prompt, list):
        return prompt
    if not prompt and not goes_on:
        raise Refused(400, "The prompt is empty; give at least one character.", "prompt")
    tokenizer = served.source.tokenizer
    if goes_on:
        return tokenizer.encode_more(prompt) if prompt else []
    return tokenizer.encode(prompt)


@contextlib.contextmanager
def _given_back(turn: Turn):
    """Give a conversation back if no text has begun that does so at its end."""
    try:
        yield
    except BaseException:
        turn.store.release(turn.kept)
        raise


class PieceEvents:
    """Makes the usual events of a text, which say only its next piece: all else is the same.

    Parameters
    ----------
    event_of : callable
        From `_events`.
    form : Form
        How a piece looks.
    text : Text
        Whose.
    """

    def __init__(self, event_of: Callable[[dict], bytes], form: Form, text: Text):
        self._event_of, self._form, self._text = event_of, form, text

    @functools.cached_property
    def _around(self) -> tuple[str, str]:
        """What is before the piece, and behind it up to the end of the table."""
        event = self._event_of({"choices": [self._form.piece(self._text, MARK, None, None)]})
        begin, _, end = event.decode().partition(_json(MARK))
        return begin, end.removesuffix("}" + EVENT_END)

    def of(self, piece: str, texts: Texts | None) -> bytes:
        """Return the event of a piece, and what all texts have cost so far if they are given."""
        begin, end = self._around
        usage = "" if texts is None else USAGE % _counts(texts)
        return f"{begin}{_json(piece)}{end}{usage}}}{EVENT_END}".encode()


def _usage(texts: list[Text]) -> dict:
    return dict(zip(COUNTS, _counts(texts), strict=True))


def _counts(texts: list[Text]) -> tuple[int, int, int]:
    prompt = made = 0
    for text in texts:
        prompt += len(text.prompt)
        made += text.read_tokens
    return prompt, made, prompt + made


def _place(texts: list[Text]) -> dict:
    """Where the conversation is that the text goes on from, if it does."""
    text, *_ = texts
    if text.turn is None:
        return {}
    state = text.answer.state or text.turn.start
    return {"conversation": {"id": text.turn.kept.id, "tokens": len(state.text),
                             "digest": digest_text(state.digest)}}


async def _read(texts: Texts) -> None:
    for text in texts.arrivals():
        if text is None:
            await texts.news.wait()
            texts.news.clear()
        else:
            text.read(EVENT_TOKENS)


def _event(data: str) -> bytes:
    return f"data: {data}{EVENT_END}".encode()


def _events(head: dict) -> Callable[[dict], bytes]:
    """Return what makes an event of `head`, which is the same in all, and a table behind it."""
    begin = _json(head)[:-1]
    return lambda table: _event(f"{begin}, {_json(table)[1:]}")
