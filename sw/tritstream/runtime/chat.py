"""A person and a model in turns, with ways back: what `tritstream chat` does, but the terminal."""

from collections.abc import Callable, Iterator, Sequence

from tritstream.engines.state import State
from tritstream.errors import BadInput
from tritstream.model.chat_template import Message
from tritstream.runtime.generate import Timings
from tritstream.runtime.history import History
from tritstream.runtime.language_model import LanguageModel
from tritstream.runtime.pieces import CONTEXT, Pieces, stopper
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler

__all__ = ["Chat", "Reply"]


class Reply:
    """What the model says in a turn: an iterator of pieces, one for each token.

    Whatever interrupts the iteration, `stop` ends the turn behind the tokens that were made, and
    gives what is not yet out.

    Attributes
    ----------
    text : str
        What is out so far.
    timings : Timings
        How long it took so far.
    """

    def __init__(self, model: LanguageModel, scheduler: Scheduler, history: History,
                 prompt: list[int], max_tokens: int, sampler: Sampler, stop: Sequence[str]):
        tokenizer, start = model.tokenizer, history.state
        context = [*start.text[-CONTEXT:], *prompt]
        prompt = [*start.pending, *prompt]
        self.timings = Timings(scheduler.engine.evidence, prompt_tokens=len(prompt),
                               clock_hz=scheduler.engine.clock_hz)
        self._pieces = Pieces(tokenizer, context, stop)
        self._scheduler = scheduler
        self._history = history
        self._began = scheduler.engine.seconds
        self._out = 0               # tokens whose pieces are out
        self._ended = False
        self._answer = scheduler.submit(
            prompt, max_tokens, sampler, start=start, keep=True,
            stop=stopper(tokenizer, context, stop))

    @property
    def text(self) -> str:
        """What is out so far."""
        return self._pieces.text

    @property
    def tokens(self) -> list[int]:
        """What was made so far."""
        return self._answer.tokens

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        try:
            next(self._answer)
        except StopIteration:
            return self._finish()
        self._measure()
        return self._next_piece()

    def stop(self) -> str:
        """End the turn, and return what is made and not yet out."""
        self._answer.cancel()
        return "".join(self)

    def _next_piece(self) -> str:
        self._out += 1
        return self._pieces.push(self._answer.tokens[self._out - 1])

    def _finish(self) -> str:
        """Go on to the end of the turn; return what is left."""
        self._ended = True
        if self._answer.state is not None:
            self._history.advance(self._answer.state)
        # An interrupt may have lost the event of a token, but not the token.
        left = [self._next_piece() for _ in range(self._out, len(self._answer.tokens))]
        return "".join(left) + self._pieces.finish()

    def _measure(self) -> None:
        timings, elapsed = self.timings, self._scheduler.engine.seconds - self._began
        if not timings.generated_tokens:
            timings.prompt_seconds = elapsed
        timings.generated_seconds = elapsed - timings.prompt_seconds
        timings.generated_tokens = self._out + 1


class Chat:
    """Conversations of one person with a model, of which one is going on.

    With a chat template what is said is a message of a user; without one it is a part of the text
    that the model goes on with.

    Parameters
    ----------
    model : LanguageModel
        Open on its device; it has a tokenizer.
    scheduler : Scheduler
        Has the engine.
    sampler : callable
        Called with a number that is another one for each answer; returns what draws its tokens.
    max_tokens : int
        Of an answer, at most.
    stop : sequence of str
        Texts that end an answer.
    system : str or None
        What the model is told first, if it has a template.
    """

    def __init__(self, model: LanguageModel, scheduler: Scheduler,
                 sampler: Callable[[int], Sampler], max_tokens: int, *, stop: Sequence[str] = (),
                 system: str | None = None):
        self._model = model
        self._scheduler = scheduler
        self._sampler = sampler
        self._max_tokens = max_tokens
        self._stop = stop
        self._answers = 0
        self._first: list[Message] = []
        if system is not None:
            if not self.speaks:
                raise BadInput(f"{model.source.name} has no chat template, so it cannot be told "
                               "how to answer: begin its text in the way that it shall go on.")
            self._first = [{"role": "system", "content": system}]
        engine = scheduler.engine
        self.histories = [History(State.beginning(engine.model, engine.kind, engine.shape))]
        # Lengths of the text before each of the turns; the latest may have come to nothing.
        self._begun: list[list[int]] = [[]]
        self.current = 0

    @property
    def speaks(self) -> bool:
        """Whether the model has a chat template."""
        return self._model.source.chat_template is not None

    @property
    def state(self) -> State:
        """Where the conversation is."""
        return self.histories[self.current].state

    @property
    def turns(self) -> int:
        """How many turns can be undone."""
        return len(self._turns)

    @property
    def _turns(self) -> list[int]:
        turns = self._begun[self.current]
        while turns and turns[-1] >= len(self.state.text):
            turns.pop()
        return turns

    @property
    def text(self) -> str:
        """All of the conversation's text, but for what only marks beginnings and ends."""
        return self._model.tokenizer.decode(self.state.text)

    def say(self, text: str) -> Reply:
        """Begin a turn.

        Parameters
        ----------
        text : str
            What is said. Without a chat template it may be empty, if there is a text already.

        Raises
        ------
        BadInput
            It cannot be said.
        """
        history, before = self.histories[self.current], self.state.text
        reply = Reply(self._model, self._scheduler, history, self._encode(text), self._max_tokens,
                      self._sampler(self._answers), self._stop)
        self._answers += 1
        self._turns.append(len(before))
        return reply

    def _encode(self, text: str) -> list[int]:
        source, before = self._model.source, self.state.text
        if self.speaks:
            first = [] if before else self._first
            return source.chat_tokens([*first, {"role": "user", "content": text}], before)
        if not before:
            return source.tokenizer.encode(text)
        if not text:
            return []
        space = "" if text[:1].isspace() or self.text[-1:].isspace() else " "
        return source.tokenizer.encode_more(space + text)

    def undo(self) -> None:
        """Take the latest turn back.

        Raises
        ------
        BadInput
            There is none.
        """
        if not self._turns:
            raise BadInput("There is no turn to take back.")
        self.histories[self.current].go_back(self._turns[-1], self._scheduler)

    def fork(self, count: int | None = None) -> None:
        """Go on in a copy of the conversation: where it is, or where it had `count` tokens.

        Raises
        ------
        BadInput
            It has not so many.
        """
        state = self.state
        if count is not None:
            state = self.histories[self.current].before(count, self._scheduler)
        self._add(state, [turn for turn in self._turns if turn < len(state.text)])

    def load(self, state: State) -> None:
        """Go on in another conversation, which is where a saved one was.

        Raises
        ------
        BadInput
            It is of another model.
        """
        engine = self._scheduler.engine
        state.check(model=engine.model, kind=engine.kind, shape=engine.shape, vocab=engine.vocab,
                    device=engine.name)
        # A turn begins with what the model did not make.
        made = [True, False, *map(bool, state.heads)][:len(state.text) + 1]
        self._add(state, [index for index, (before, here) in
                          enumerate(zip(made, made[1:], strict=False)) if before and not here])

    def _add(self, state: State, turns: list[int]) -> None:
        self.histories.append(History(state))
        self._begun.append(turns)
        self.current = len(self.histories) - 1

    def switch(self, number: int) -> None:
        """Go on in the conversation of a number, from 1 on.

        Raises
        ------
        BadInput
            There is none.
        """
        if not 1 <= number <= len(self.histories):
            raise BadInput(f"There are conversations 1 to {len(self.histories)}, and no {number}.")
        self.current = number - 1
