"""One text of a response: what the scheduler makes, as pieces in the event loop."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tritstream.engines.candidates import Candidates
from tritstream.engines.state import State
from tritstream.errors import BadInput, TritstreamError
from tritstream.runtime.pieces import CONTEXT, Pieces, stopper
from tritstream.runtime.scheduler import Answer
from tritstream.server.errors import Refused
from tritstream.server.request import TextRequest
from tritstream.server.residence import Resident
from tritstream.server.store import MOST_TOKENS, Kept, Store

__all__ = ["Text", "Turn"]


class Turn(NamedTuple):
    """A conversation that a text goes on from.

    Parameters
    ----------
    store : Store
        Gets it back at the end of the text.
    kept : Kept
        Which one.
    start : State
        Where it is.
    """

    store: Store
    kept: Kept
    start: State


class Text:
    """One choice of a response.

    Parameters
    ----------
    resident : Resident
        The model, which stays on the device until the text has ended.
    tell : callable
        Called, in any thread, when there is more of it to read; returns what wakes the reader.
    asked : TextRequest
        What the client wants.
    prompt : list of int
        What the client gave, without what is pending in the conversation.
    number : int
        Which of the choices.
    turn : Turn or None
        The conversation that it goes on from, if any.

    Raises
    ------
    BadInput
        The prompt or a setting cannot be used.
    DeviceBusy
        Too many texts wait.
    """

    def __init__(self, resident: Resident, tell: Callable[[], Callable[[], None]],
                 asked: TextRequest, prompt: list[int], number: int, turn: Turn | None = None):
        scheduler, tokenizer = resident.scheduler, resident.served.tokenizer
        self._resident = resident
        self.number = number
        self.prompt = prompt
        self.turn = turn
        self.tokenizer = tokenizer
        self.read_tokens = 0        # of those that are made
        self.read_out = False       # whether it has ended, and all of it is read
        self._stop_tokens = scheduler.engine.stop_tokens
        self._more = tell
        self._ended = False
        self._error: BaseException | None = None    # for which it has ended
        start = None if turn is None else turn.start
        context = prompt if start is None else [*start.text[-CONTEXT:], *prompt]
        self.pieces = Pieces(tokenizer, context, asked.stop_texts)
        prompt = [*(start.pending if start else ()), *prompt]
        if start is not None and len(start.tokens) + len(prompt) + asked.max_tokens > MOST_TOKENS:
            raise BadInput(f"The conversation would have more than the {MOST_TOKENS:,} tokens that "
                           "are kept: ask for fewer, or begin another.")
        stop = stopper(tokenizer, context, asked.stop_texts)
        resident.enter()
        try:
            self.answer = scheduler.submit(
                prompt, asked.max_tokens, asked.sampler(number), start=start,
                keep=turn is not None, stop=stop, tell=self._tell,
                candidates=asked.log_probabilities is not None)
        except BaseException:
            resident.leave()
            raise

    @property
    def waits(self) -> bool:
        """Whether there is something to read: tokens, or the end."""
        return self._ended or self.read_tokens < len(self.answer.tokens)

    def read(self, most: int) -> str:
        """Read tokens that are made, at most so many, or the end of the text.

        Returns
        -------
        str
            What is certain with them, perhaps empty.

        Raises
        ------
        Refused
            It ended as the device failed, or its conversation could not be kept.
        """
        ended = self._ended         # before it looks: what is there then is all
        tokens = self.answer.tokens[self.read_tokens:self.read_tokens + most]
        self.read_tokens += len(tokens)
        piece = "".join(map(self.pieces.push, tokens))
        if not ended or self.read_tokens < len(self.answer.tokens):
            return piece
        if self._error is None:
            self.read_out = True
            piece += self.pieces.finish()
        elif not tokens:
            raise self._error
        return piece

    @property
    def finish_reason(self) -> str:
        """Why it ends where it does."""
        last = next(reversed(self.answer.tokens), None)
        return "stop" if self.pieces.stopped or last in self._stop_tokens else "length"

    def chosen(self, start: int) -> Iterator[tuple[int, Candidates]]:
        """Yield each token that is read, from `start` on, and what it was chosen from."""
        part = slice(start, self.read_tokens)
        yield from zip(self.answer.tokens[part], self.answer.candidates[part], strict=True)

    def name(self, token: int) -> str:
        """Return the text of a token by itself."""
        return self.tokenizer.decode([token]) if self.tokenizer else str(token)

    # In the scheduler's thread, or the store's.

    def _tell(self, answer: Answer,
              event: int | None | BaseException) -> Callable[[], None] | None:
        """Pass on what happens; the end of a turn is told when it is kept.

        Readers are woken behind the step, all of its texts together.
        """
        if isinstance(event, int):
            return self._more()
        self._resident.leave()
        if self.turn is None:
            self._end(event)
            return None
        store, kept, _ = self.turn
        store.end(kept, answer.state,
                  lambda error: self._end(event if error is None else _not_kept(error)))
        return None

    def _end(self, error: BaseException | None) -> None:
        self._error = Refused.of(error) if isinstance(error, TritstreamError) else error
        self._ended = True
        self._more()()


def _not_kept(error: Exception) -> Exception:
    if not isinstance(error, TritstreamError):
        return error
    return Refused(507, f"The text was made, and could not be kept: {error}")
