"""What a client asks for, checked once."""

import abc
import asyncio
import json

import pydantic
from starlette.requests import Request

from tritstream.engines.candidates import CANDIDATES
from tritstream.model.chat_template import Message
from tritstream.runtime.sampling import Sampler
from tritstream.server.errors import Refused

__all__ = ["ChatRequest", "CompletionRequest", "ConversationRequest", "ForkRequest", "read_body",
           "read_bytes"]

MOST_BYTES = 4 << 20        # of a body
BODY_SECONDS = 30.0         # in which it has to come
MOST_CHOICES = 16
MOST_TEXTS = 256            # of a request, which has them made side by side
MOST_STOPS = 64             # each is looked for behind every token
MOST_MESSAGES = 10_000
MOST_TOKENS = 1_000_000
MOST_LOGGED = 10_000        # of a text with log probabilities, each a kilobyte of them
ANSWER_TOKENS = 1_024       # of an answer in a chat, where its request does not say


class TextRequest(pydantic.BaseModel, abc.ABC):
    """What requests for texts have in common; fields that are not here are not looked at."""

    model_config = pydantic.ConfigDict(strict=False, extra="ignore")

    model: str | None = None
    conversation: str | None = None
    n: int = pydantic.Field(default=1, ge=1, le=MOST_CHOICES)
    stream: bool = False
    stream_options: dict | None = None
    timings_per_token: bool = False
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = CANDIDATES
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] | None = None

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end a text."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    @abc.abstractmethod
    def log_probabilities(self) -> int | None:
        """Of how many candidates beside each token they are wanted; None: of no token."""

    @property
    def usage(self) -> bool:
        """Whether a stream ends with what it cost."""
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def usage_of_events(self) -> bool:
        """Whether every event of it says what it cost so far."""
        return self.usage and bool(self.stream_options.get("continuous_usage_stats"))

    def sampler(self, number: int) -> Sampler:
        """Return what draws the tokens of the n-th choice."""
        return Sampler(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k,
                       min_p=self.min_p, repetition_penalty=self.repetition_penalty,
                       presence_penalty=self.presence_penalty,
                       frequency_penalty=self.frequency_penalty, logit_bias=self.logit_bias,
                       seed=(self.seed or 0) + number)


class CompletionRequest(TextRequest):
    """The body of ``/v1/completions``."""

    prompt: str | list[int] | list[str] | list[list[int]] = pydantic.Field(
        default="", union_mode="left_to_right")
    max_tokens: int = pydantic.Field(default=16, ge=1, le=MOST_TOKENS)
    echo: bool = False
    logprobs: int | None = pydantic.Field(default=None, ge=0, le=CANDIDATES)

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each of the prompts."""
        several = isinstance(self.prompt, list) and not all(
            isinstance(token, int) for token in self.prompt[:1])
        return self.prompt if several else [self.prompt]

    @property
    def log_probabilities(self) -> int | None:
        return self.logprobs


class ChatMessage(pydantic.BaseModel):
    """One message of a chat; what it has besides text is not for models like these."""

    role: str
    content: str | list[dict] | None = None

    @property
    def message(self) -> Message:
        """Role and text."""
        parts = [self.content] if isinstance(self.content, str) else self.content or ()
        return {"role": self.role, "content": "".join(map(_text_of, parts))}


def _text_of(part: str | dict) -> str:
    text = part if isinstance(part, str) else part.get("text")
    if not isinstance(text, str):
        raise Refused(400, "A message has a part that is no text, which is all that this model "
                      "reads.", "messages")
    return text


class ChatRequest(TextRequest):
    """The body of ``/v1/chat/completions``."""

    messages: list[ChatMessage] = pydantic.Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int = pydantic.Field(default=ANSWER_TOKENS, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = pydantic.Field(default=None, ge=1, le=MOST_TOKENS)
    logprobs: bool = False
    top_logprobs: int = pydantic.Field(default=0, ge=0, le=CANDIDATES)

    @property
    def log_probabilities(self) -> int | None:
        return self.top_logprobs if self.logprobs else None

    @pydantic.model_validator(mode="after")
    def _newer_name(self):
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self


class ConversationRequest(pydantic.BaseModel):
    """The body of ``/v1/conversations``, which may be empty."""

    model: str | None = None


class ForkRequest(pydantic.BaseModel):
    """The body of ``/v1/conversations/{id}/fork``."""

    tokens: int | None = pydantic.Field(default=None, ge=0)


async def read_bytes(request: Request, most: int) -> bytes:
    """Read a body.

    Raises
    ------
    Refused
        It has more than `most` bytes, or is too slow.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise Refused(413, f"The body has more than {most:,} bytes.")
    except TimeoutError:
        raise Refused(408, f"The body has not come within {BODY_SECONDS:g} s.") from None
    return bytes(data)


async def read_body(request: Request, form: type[pydantic.BaseModel], default: bytes = b""):
    """Read a JSON body of a form; `default` is what one that is empty means.

    Raises
    ------
    Refused
        It is too large, too slow, no JSON, or of another form.
    """
    data = await read_bytes(request, MOST_BYTES)
    try:
        table = json.loads(data or default)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {str(error)[:200]}.") from None
    if not isinstance(table, dict):
        raise Refused(400, "The body must be a JSON object.")
    try:
        return form.model_validate({name: value for name, value in table.items()
                                    if value is not None})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"][:1]))
        raise Refused(400, f"{field} cannot be used: {first['msg']}.", field) from None
