"""Many texts on one engine, each made as if it were alone."""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tritstream.engines import Conversation, Engine, Work
from tritstream.engines.base import Pass
from tritstream.engines.candidates import Candidates
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.runtime.sampling import Sampler
from tritstream.support.checks import checked_tokens

__all__ = ["Answer", "Scheduler"]

ACTIVE = 64                 # texts that are made side by side
WAITING = 256               # texts that wait for a place among them
RESTING = 64                # conversations between two texts that keep their places on the device
ASIDES = 64                 # calls that wait for the end of a pass
CLOSED = "The scheduler is closed: make another."


class Answer:
    """One text of a scheduler: an iterator of its tokens, as they are made.

    A text that is ended by `cancel` just ends. One that the device fails raises its error where the
    next token would be.

    Attributes
    ----------
    tokens : list of int
        What is made so far.
    candidates : list of Candidates
        Among which each of the tokens was chosen; empty unless that was asked for.
    digest : int or None
        Running digest behind the last token that was taken, which is the one before the last of
        `tokens`.
    state : State or None
        Where the conversation is at the end, if that was asked for and a token was made; the last
        token is pending.
    """

    def __init__(self, prompt: list[int], max_tokens: int, sampler: Sampler, *,
                 start: State | None, keep: bool, candidates: bool,
                 stop: Callable[[int], bool] | None, changed: Callable[[], None],
                 tell: "Tell | None"):
        self.tokens: list[int] = []
        self.candidates: list[Candidates] = []
        self.digest = None if start is None else start.digest
        self.state: State | None = None
        self._start = start
        self._keep = keep
        self._watched = candidates
        self._conversation: Conversation | None = None      # from its first pass on
        self._pending = prompt              # not yet taken
        self._max_tokens = max_tokens
        self._sampler = sampler
        self._stop = stop
        self._changed = changed
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._tell = self._events.put if tell is None else functools.partial(tell, self)
        self._cancelled = False
        self._left = False                  # it is no longer among those that are made
        self._ended = False

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self._ended:
            raise StopIteration
        event = self._events.get()
        if isinstance(event, int):
            return event
        self._ended = True
        if event is None:
            raise StopIteration
        raise event

    def cancel(self) -> None:
        """End the text behind the pass that is under way; what others take is not delayed."""
        if not self._left:
            self._cancelled = True
            self._changed()

    # What the scheduler does with it, in its own thread.

    @property
    def _got_somewhere(self) -> bool:
        return bool(self.tokens)

    def _count(self, spare: int) -> int:
        """How many tokens it takes in a step with room for so many without the head."""
        left = len(self._pending)
        return left if left <= spare + 1 else spare

    def _take(self, count: int) -> Work:
        return Work(self._conversation, self._pending[:count], self._asks(count),
                    candidates=self._watched or not self._sampler.greedy)

    def _asks(self, count: int) -> bool:
        """Whether the head is played behind so many tokens."""
        return count == len(self._pending)

    def _ahead(self, work: Work) -> int:
        """Steps that a device may go on by itself; a place that is kept must not be passed."""
        if self._keep or work.candidates or not work.head or len(work.tokens) > 1:
            return 1
        return self._max_tokens - len(self.tokens)

    def _took(self, work: Work, result: Pass, stop_tokens: Sequence[int]) -> bool:
        """Go on by what a work gave; return whether the text has ended."""
        del self._pending[:len(work.tokens)]
        self.digest = result.digest
        if not work.head:
            return False
        token = self._sampler.choose(result.candidates)
        if self._watched:
            self.candidates.append(result.candidates)
        self.tokens.append(token)           # the last, as others look how many there are
        self._pending = [token]
        self._tell(token)
        return (len(self.tokens) == self._max_tokens or token in stop_tokens
                or self._stop is not None and self._stop(token))


Tell = Callable[[Answer, int | None | BaseException], Callable[[], None] | None]
"""What is told of a text, see `Scheduler.submit`."""


class _Replay(Answer):
    """Tokens that were taken already, taken in the same way once more; it makes none."""

    def __init__(self, tokens: list[int], heads: bytes, start: State | None, pending: list[int],
                 changed: Callable[[], None]):
        super().__init__(tokens + pending, 1, Sampler(), start=start, keep=True,
                         candidates=False, stop=None, changed=changed, tell=None)
        self._heads = heads             # of the tokens that are left to take

    @property
    def _got_somewhere(self) -> bool:
        return not self._heads

    def _count(self, spare: int) -> int:
        return self._heads.find(1, 0, spare + 1) + 1 or min(spare, len(self._heads))

    def _asks(self, count: int) -> bool:
        return bool(self._heads[count - 1])

    def _took(self, work: Work, result: Pass, stop_tokens: Sequence[int]) -> bool:
        del self._pending[:len(work.tokens)]
        self._heads = self._heads[len(work.tokens):]
        self.digest = result.digest
        return not self._heads


class _Aside(NamedTuple):
    """What is called between two passes."""

    action: Callable[[Engine], object]
    future: concurrent.futures.Future

    def call(self, engine: Engine) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.action(engine))
        except Exception as error:
            self.future.set_exception(error)

    def refuse(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Scheduler:
    """Makes texts side by side, in a thread that alone has the engine.

    A step takes a token of each text, up to the engine's lanes, and of prompts as many more as the
    engine takes beside these. Texts come and go between steps, and take turns where there are more
    of them than lanes: of a prompt, a turn is what a step takes at most. So the first token of a
    text comes in its first turn, unless its prompt is longer. What a text says, and its digest, do
    not depend on its company.

    A device that fails ends the texts that are being made; those that come later, and those that
    wait, have it opened again.

    Parameters
    ----------
    engine : Engine
        Nobody else uses it; it stays open.
    reopen : callable or None
        Returns the engine in the place of one that has failed; None: that is tried again itself,
        and only the texts of the pass that failed end.
    active : int
        Texts that take turns.
    waiting : int
        Texts that wait for one of these to end.
    """

    def __init__(self, engine: Engine, *, reopen: Callable[[], Engine] | None = None,
                 active: int = ACTIVE, waiting: int = WAITING):
        for name, value in (("active", active), ("waiting", waiting)):
            if value < 1:
                raise BadInput(f"{name} must be at least 1, not {value}.")
        self._engine = engine
        self._reopen = reopen
        self._broken = False                # the engine has to be opened again
        self._fault: Exception | None = None    # why, until the texts that it has are told
        self._behind: dict[Callable[[], None], None] = {}   # what is called when a step is told
        # Conversations between two texts, by where they are; the one that was used last is last.
        self._resting: collections.OrderedDict[int, tuple[State, Conversation]] = (
            collections.OrderedDict())
        self._most_active, self._most_waiting = active, waiting
        self._changed = threading.Condition()
        self._waiting: collections.deque[Answer] = collections.deque()
        self._active: collections.deque[Answer] = collections.deque()
        self._asides: collections.deque[_Aside] = collections.deque()
        self._turns = 0                     # steps since the texts in front came there
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)
        self._thread.start()

    @property
    def engine(self) -> Engine:
        """The engine, which is another one where the device had to be opened again."""
        return self._engine

    @property
    def broken(self) -> bool:
        """Whether the device has failed, and has not been opened again so far."""
        return self._broken

    def submit(self, prompt: Sequence[int], max_tokens: int, sampler: Sampler | None = None, *,
               start: State | None = None, keep: bool = False, candidates: bool = False,
               stop: Callable[[int], bool] | None = None,
               tell: Tell | None = None) -> Answer:
        """Ask for a text.

        Parameters
        ----------
        prompt : sequence of int
            At least one token, those that are pending at the start before all others.
        max_tokens : int
            Tokens to make; a stop token ends the text earlier.
        sampler : Sampler or None
            Chooses the tokens, for this text alone; None: the best ones.
        start : State or None
            Where to go on; None: a new conversation.
        keep : bool
            Whether the answer has a state at its end, to go on from there.
        candidates : bool
            Whether it has those among which its tokens were chosen.
        stop : callable or None
            Called in the scheduler's thread with each token; what is true ends the text behind it.
        tell : callable or None
            Called in the scheduler's thread with the answer and each token, or None or an error at
            the end; None: the answer is an iterator of its tokens. What it returns for a token, if
            it does, is called once all texts of the step are told, and once for all that return it.

        Raises
        ------
        BadInput
            An argument cannot be used.
        DeviceBusy
            As many texts wait as may.
        """
        prompt = checked_tokens(prompt, self._engine.vocab)
        sampler = Sampler() if sampler is None else sampler
        if not prompt:
            raise BadInput("The prompt is empty; give at least one token.")
        if max_tokens < 1:
            raise BadInput(f"The number of tokens must be at least 1, not {max_tokens}.")
        sampler.check(self._engine.kept, self._engine.name)
        checked_tokens(sampler.logit_bias, self._engine.vocab)
        sampler.begin(prompt if start is None else itertools.chain(start.tokens, prompt))
        return self._enqueue(Answer(
            prompt, max_tokens, sampler, start=start, keep=keep, candidates=candidates, stop=stop,
            changed=self._notify, tell=None if tell is None else self._noting(tell)))

    def replay(self, tokens: Sequence[int], heads: bytes, *, start: State,
               pending: Sequence[int] = ()) -> Answer:
        """Ask for tokens to be taken as they were before, see `State`.

        Parameters
        ----------
        tokens : sequence of int
            At least one.
        heads : bytes
            For each whether the head is played behind it.
        start : State
            Where they were taken.
        pending : sequence of int
            Tokens that come behind them, not to be taken yet.

        Returns
        -------
        Answer
            It makes no tokens, and has a state at its end.
        """
        return self._enqueue(_Replay(list(tokens), heads, start, list(pending), self._notify))

    def between(self, action: Callable[[Engine], object]) -> concurrent.futures.Future:
        """Have something called with the engine, in the scheduler's thread, between two passes.

        Parameters
        ----------
        action : callable
            It is short, as all texts wait for it, and leaves the conversations where they are.

        Returns
        -------
        Future
            Of what it returns.

        Raises
        ------
        DeviceBusy
            As many wait for that as may.
        """
        aside = _Aside(action, concurrent.futures.Future())
        with self._changed:
            self._check_open()
            if len(self._asides) >= ASIDES:
                raise DeviceBusy(f"{len(self._asides)} calls wait for {self._engine.name} already: "
                                 "try again later.")
            self._asides.append(aside)
            self._changed.notify()
        return aside.future

    def _enqueue(self, answer: Answer) -> Answer:
        with self._changed:
            self._check_open()
            if len(self._waiting) >= self._most_waiting:
                raise DeviceBusy(f"{len(self._waiting)} texts wait for {self._engine.name} "
                                 "already: try again later.")
            self._waiting.append(answer)
            self._changed.notify()
        return answer

    @property
    def load(self) -> tuple[int, int]:
        """How many texts are being made, and how many wait."""
        with self._changed:
            return len(self._active), len(self._waiting)

    def close(self) -> None:
        """End all texts behind the pass that is under way."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _check_open(self) -> None:
        if self._closing:
            raise BadInput(CLOSED)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify()

    # In the thread.

    def _serve(self) -> None:
        error = None
        try:
            while self._admit():
                self._pass()
        except BaseException as fault:      # whoever waits must not wait for ever
            error = fault
        with self._changed:
            self._closing = True
            for answer in (*self._active, *self._waiting):
                self._end(answer, error)
            for aside in self._asides:
                aside.refuse(error or BadInput(CLOSED))

    def _admit(self) -> bool:
        """Wait until there is something to do; return whether there is."""
        with self._changed:
            while True:
                if self._closing:
                    return False
                cancelled = self._without_cancelled()
                while self._waiting and len(self._active) < self._most_active:
                    self._active.append(self._waiting.popleft())
                if self._active or cancelled or self._asides:
                    break
                self._changed.wait()
            asides = list(self._asides)
            self._asides.clear()
        for answer in cancelled:
            self._end(answer)
        for aside in asides:
            aside.call(self._engine)
        return True

    def _without_cancelled(self) -> list[Answer]:
        """Take out what is cancelled, and return it."""
        found = []
        for texts in (self._active, self._waiting):
            for answer in [answer for answer in texts if answer._cancelled]:
                texts.remove(answer)
                found.append(answer)
        return found

    def _pass(self) -> None:
        """Let the texts in front take their tokens."""
        if self._fault is not None:
            self._failed([], self._fault)
        if self._broken and self._active and not self._mend():
            return
        works = self._works()
        if not works:
            return
        try:
            for results in self._steps(works):
                self._turns += 1
                self._tell(works, results)
        except Exception as error:
            self._failed([answer for answer, _ in works if not answer._left], error)
            return
        if self._turns >= self._engine.quantum:
            self._turns = 0
            self._take_turns([work for _, work in works])

    def _steps(self, works: list[tuple[Answer, Work]]) -> Iterator[list[Pass]]:
        """Take a step, or several where the device can go on by itself, until somebody waits."""
        count = min(self._engine.ahead, self._uncalled(len(works)),
                    *(answer._ahead(work) for answer, work in works))
        if count <= 1:
            return iter([self._engine.step([work for _, work in works])])
        return self._engine.run({work.conversation: work.tokens[0] for _, work in works}, count,
                                lambda: self._enough(works))

    def _uncalled(self, count: int) -> int:
        """Steps in which nobody else comes in beside so many texts."""
        if self._comes_in(count):
            return 1
        others = self._waiting or count < len(self._active)
        return self._engine.quantum - self._turns if others else self._engine.ahead

    def _enough(self, works: list[tuple[Answer, Work]]) -> bool:
        """Whether a run should end early: a text of it has ended, or somebody could come in."""
        return (any(answer._cancelled or answer._left for answer, _ in works)
                or self._comes_in(len(works)) or bool(self._asides) or self._closing)

    def _comes_in(self, count: int) -> bool:
        """Whether a text that waits would be in the next step, where this one has so many."""
        return bool(self._waiting and len(self._active) < self._most_active
                    and (count < self._engine.lanes or self._turns >= self._engine.quantum))

    def _tell(self, works: list[tuple[Answer, Work]], results: list[Pass]) -> None:
        """Go on with the texts of a step, but for those that have ended in one before."""
        for (answer, work), result in zip(works, results, strict=True):
            if answer._left:
                continue
            try:
                if answer._took(work, result, self._engine.stop_tokens) or answer._cancelled:
                    self._leave(answer)
            except Exception as error:          # of whoever is told, and nobody else's
                self._leave(answer, error)
        while self._behind:
            self._behind.popitem()[0]()

    def _noting(self, tell: Tell) -> Callable[[Answer, int | None | BaseException], None]:
        """Return what tells, and notes what is to be called behind the step."""
        def told(answer: Answer, event: int | None | BaseException) -> None:
            behind = tell(answer, event)
            if behind is not None:
                self._behind[behind] = None
        return told

    def _take_turns(self, works: list[Work]) -> None:
        """Put the texts that have had their turns behind all others.

        One of whose prompt a step took less than it could, as others came before, goes on first.
        """
        had = {id(work.conversation) for work in works
               if work.head or len(work.tokens) >= self._engine.prefill}
        if len(had) == len(self._active):
            return
        with self._changed:
            self._active = collections.deque(sorted(
                self._active, key=lambda answer: id(answer._conversation) in had))

    def _failed(self, answers: list[Answer], error: Exception) -> None:
        """End texts in the middle of a pass; all that have begun if the device is lost."""
        self._fault = None
        if isinstance(error, DeviceError) and self._reopen is not None:
            self._broken = True
            self._resting.clear()           # they are with the engine that has failed
            answers = [answer for answer in self._active if answer._conversation is not None]
        for answer in answers:
            self._leave(answer, error)

    def _mend(self) -> bool:
        """Open the device again; if that cannot be, all that wait for it are told."""
        try:
            self._engine = self._reopen()
        except Exception as error:
            with self._changed:
                waiting = list(self._waiting)
                self._waiting.clear()
            for answer in list(self._active):
                self._leave(answer, error)
            for answer in waiting:
                self._end(answer, error)
            return False
        self._broken = False
        return True

    def _leave(self, answer: Answer, error: BaseException | None = None) -> None:
        with self._changed:
            self._active.remove(answer)
        answer._left = True
        self._end(answer, error)

    def _end(self, answer: Answer, error: BaseException | None = None) -> None:
        """Put a text's conversation where it belongs, and tell that it has ended."""
        conversation = answer._conversation
        if conversation is not None:
            if answer._keep and answer._got_somewhere and error is None:
                try:
                    answer.state = dataclasses.replace(conversation.save(),
                                                       pending=tuple(answer._pending))
                    self._rest(answer.state, conversation)
                except Exception as failed:
                    error = self._fault = failed
            else:
                conversation.close()
        answer._tell(error)

    def _rest(self, state: State, conversation: Conversation) -> None:
        """Keep a conversation's place on the device until it goes on, as long as there is room."""
        self._resting[id(state)] = state, conversation
        if len(self._resting) > RESTING:
            _, (_, oldest) = self._resting.popitem(last=False)
            oldest.close()

    def _opened(self, start: State | None) -> Conversation:
        if start is None:
            return self._engine.open()
        _, conversation = self._resting.pop(id(start), (None, None))
        return conversation or self._engine.open(start)

    def _works(self) -> list[tuple[Answer, Work]]:
        """Share out a step among the texts in front."""
        engine, works = self._engine, []
        spare = engine.prefill
        if len(self._active) == 1:
            spare = max(spare, engine.piece)            # nobody waits for the end of the piece
        for answer in list(self._active):
            if answer._conversation is None:
                try:
                    answer._conversation = self._opened(answer._start)
                except Exception as error:              # of another model, say
                    self._leave(answer, error)
                    continue
            count = answer._count(spare)
            if not count:
                continue                                # it waits
            work = answer._take(count)
            spare -= count - work.head
            works.append((answer, work))
            if len(works) == engine.lanes:
                break
        return _without_rest(works, engine.lanes) if engine.uniform else works


def _without_rest(works: list[tuple[Answer, Work]], lanes: int) -> list[tuple[Answer, Work]]:
    """Shorten a prompt by what would be alone in a pass; it comes beside tokens of later steps."""
    total = sum(len(work.tokens) for _, work in works)
    if total > lanes and (rest := total % lanes):
        for place, (answer, work) in enumerate(works):
            if len(work.tokens) > rest:
                works[place] = answer, answer._take(len(work.tokens) - rest)
                break
    return works
