"""Text from a prompt on any device, with the time that it took."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

from tritstream.engines import Conversation, Engine
from tritstream.engines.candidates import Candidates
from tritstream.errors import BadInput
from tritstream.model.tokenizer import Tokenizer
from tritstream.runtime.pieces import Pieces
from tritstream.runtime.sampling import Sampler
from tritstream.support.checks import checked_tokens

__all__ = ["Generation", "Timings"]


@dataclasses.dataclass
class Timings:
    """How long a generation took, and how that is known.

    The prompt ends with the first token that is generated; the rate of generation is that of the
    tokens behind it.

    Parameters
    ----------
    evidence : str
        Where the seconds are from: `measured` with this computer's clock, or `simulated`, from
        the accelerator's cycles at its clock rate.
    """

    evidence: str
    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    generated_tokens: int = 0
    generated_seconds: float = 0.0
    wall_seconds: float = 0.0           # of both, by this computer's clock
    load_seconds: float = 0.0           # opening the device and uploading the model, likewise
    cycles: int | None = None
    stalls: int | None = None
    clock_hz: int | None = None

    @property
    def prompt_rate(self) -> float | None:
        """Tokens of the prompt per second; None before the first token."""
        if not self.generated_tokens or not self.prompt_seconds:
            return None
        return self.prompt_tokens / self.prompt_seconds

    @property
    def rate(self) -> float | None:
        """Tokens generated per second; None before the second token."""
        if not self.generated_seconds:
            return None
        return (self.generated_tokens - 1) / self.generated_seconds

    def to_json(self) -> dict:
        """Return all numbers; those that this device has not are left out."""
        table = {name: value for name, value in dataclasses.asdict(self).items()
                 if value is not None}
        return table | {"prompt_tokens_per_second": self.prompt_rate,
                        "tokens_per_second": self.rate}


class Generation:
    """One text being made: an iterator of its pieces, one for each token.

    A piece is empty where a token does not end a character; what is left at the end is a piece of
    its own. What there is stays usable after an interrupt. The conversation is closed when the
    text ends, or by `close`, and until then the device is busy in a greedy run.

    Parameters
    ----------
    conversation : Conversation
        Where; it is new.
    engine : Engine
        Its engine, for the time.
    prompt : sequence of int
        At least one token.
    max_tokens : int
        Tokens to generate; a stop token ends the text earlier.
    sampler : Sampler
        Chooses the tokens. A greedy run goes on by itself on the device.
    tokenizer : Tokenizer or None
        Makes text of tokens; None: all pieces are empty.
    stop : sequence of str
        Texts that end the text, which does not have them; what could be the beginning of one comes
        with the piece that shows that it is none.
    progress : callable or None
        Called with the tokens of the prompt that are done, and with all, while it is read.
    candidates : bool
        Whether what each token was chosen from is kept, in `candidates`: a list beside `tokens`.

    Raises
    ------
    BadInput
        The prompt or the number of tokens is empty, or the sampler needs more candidates than
        there are.
    """

    def __init__(self, conversation: Conversation, engine: Engine, prompt: Sequence[int],
                 max_tokens: int, sampler: Sampler, *, tokenizer: Tokenizer | None = None,
                 stop: Sequence[str] = (),
                 progress: Callable[[int, int], None] | None = None, candidates: bool = False):
        if not len(prompt):
            raise BadInput("The prompt is empty; give at least one token.")
        if max_tokens < 1:
            raise BadInput(f"The number of tokens must be at least 1, not {max_tokens}.")
        sampler.check(engine.kept, engine.name)
        self.prompt = checked_tokens(prompt, engine.vocab)
        checked_tokens(sampler.logit_bias, engine.vocab)
        sampler.begin(self.prompt)
        self.max_tokens = max_tokens
        self.tokens: list[int] = []
        self.candidates: list[Candidates] = []
        self._keeps = candidates
        self.timings = Timings(engine.evidence, prompt_tokens=len(self.prompt),
                               clock_hz=engine.clock_hz)
        self._conversation = conversation
        self._engine = engine
        self._sampler = sampler
        self._progress = progress or (lambda done, total: None)
        self._text = Pieces(tokenizer, self.prompt, stop)
        self._pieces = self._generate()

    @property
    def text(self) -> str:
        """What there is so far, but for what could be the beginning of a stop text."""
        return self._text.text

    @property
    def finish_reason(self) -> str:
        """Why the text ends where it does: ``stop`` (a token or a text), or else ``length``."""
        token = self.tokens[-1] if self.tokens else None
        stopped = self._text.stopped or token in self._engine.stop_tokens
        return "stop" if stopped else "length"

    @property
    def digest(self) -> int | None:
        """Running digest so far."""
        return self._conversation.digest

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End the text here, and free the device, at once or behind a pass of another thread."""
        with contextlib.suppress(ValueError):       # it runs in another thread
            self._pieces.close()
        self._conversation.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _generate(self) -> Iterator[str]:
        engine, timings = self._engine, self.timings
        wall, began, cycles, stalls = (time.perf_counter(), engine.seconds, engine.cycles,
                                       engine.stalls)

        def measure():
            timings.wall_seconds = time.perf_counter() - wall
            if cycles is not None:
                timings.cycles = engine.cycles - cycles
                timings.stalls = engine.stalls - stalls

        try:
            with self._conversation:
                self._feed()
                for token, candidates in self._choices():
                    elapsed = engine.seconds - began
                    if not self.tokens:
                        timings.prompt_seconds = elapsed
                    timings.generated_seconds = elapsed - timings.prompt_seconds
                    self.tokens.append(token)
                    if self._keeps:
                        self.candidates.append(candidates)
                    timings.generated_tokens = len(self.tokens)
                    measure()
                    yield self._text.push(token)
                    if self._text.stopped:
                        return
        finally:
            measure()
            rest = self._text.finish()
        if rest:
            yield rest

    def _feed(self) -> None:
        before, piece = self.prompt[:-1], self._engine.piece
        for start in range(0, len(before), piece):
            self._progress(start, len(before))
            self._conversation.feed(before[start:start + piece])

    def _choices(self) -> Iterator[tuple[int, Candidates]]:
        token = self.prompt[-1]
        if self._sampler.greedy:
            for result in self._conversation.run(token, self.max_tokens, candidates=self._keeps):
                yield result.candidates.best, result.candidates
            return
        for _ in range(self.max_tokens):
            candidates = self._conversation.step(token).candidates
            token = self._sampler.choose(candidates)
            yield token, candidates
            if token in self._engine.stop_tokens:
                return
