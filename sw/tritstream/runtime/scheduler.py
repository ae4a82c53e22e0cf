"""Many texts on one engine, each made as if it were alone."""

import collections
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from tritstream.engines import Conversation, Engine, Work
from tritstream.engines.base import Pass
from tritstream.engines.candidates import Candidates
from tritstream.errors import BadInput, DeviceBusy
from tritstream.runtime.sampling import Sampler
from tritstream.support.checks import checked_tokens

__all__ = ["Answer", "Scheduler"]

ACTIVE = 64                 # texts that are made side by side
WAITING = 256               # texts that wait for a place among them


class Answer:
    """One text of a scheduler: an iterator of its tokens, as they are made.

    A text that is ended by `cancel` just ends. One that the device fails raises its error where the
    next token would be. In each case the conversation stays behind the last token that it has
    taken, which is the one before the last of `tokens`: whoever goes on begins with that.
    """

    def __init__(self, conversation: Conversation, prompt: list[int], max_tokens: int,
                 sampler: Sampler, changed: Callable[[], None],
                 tell: Callable[[int | None | BaseException], None] | None):
        self.conversation = conversation
        self.tokens: list[int] = []
        self.candidates: list[Candidates] = []      # among which each of the tokens was chosen
        self._pending = prompt              # not yet taken
        self._max_tokens = max_tokens
        self._sampler = sampler
        self._changed = changed
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._tell = self._events.put if tell is None else tell
        self._cancelled = False
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
        self._cancelled = True
        self._changed()

    # What the scheduler does with it, in its own thread.

    def _work(self, most: int) -> Work:
        tokens = self._pending[:most]
        return Work(self.conversation, tokens, head=len(tokens) == len(self._pending))

    def _took(self, work: Work, result: Pass, stop_tokens: Sequence[int]) -> bool:
        """Go on by what a work gave; return whether the text has ended."""
        del self._pending[:len(work.tokens)]
        if not work.head:
            return False
        token = self._sampler.choose(result.candidates)
        self.tokens.append(token)
        self._pending = [token]
        self.candidates.append(result.candidates)
        self._tell(token)
        return len(self.tokens) == self._max_tokens or token in stop_tokens

    def _end(self, error: BaseException | None = None) -> None:
        self._tell(error)


class Scheduler:
    """Makes texts side by side, in a thread that alone has the engine.

    A pass takes a token of each text, up to the engine's lanes; lanes that are left take more of
    the prompts. Texts come and go between passes, and take turns where there are more of them than
    lanes. What a text says, and its digest, do not depend on its company.

    Parameters
    ----------
    engine : Engine
        Nobody else uses it; it stays open.
    active : int
        Texts that take turns.
    waiting : int
        Texts that wait for one of these to end.
    """

    def __init__(self, engine: Engine, *, active: int = ACTIVE, waiting: int = WAITING):
        for name, value in (("active", active), ("waiting", waiting)):
            if value < 1:
                raise BadInput(f"{name} must be at least 1, not {value}.")
        self._engine = engine
        self._most_active, self._most_waiting = active, waiting
        self._changed = threading.Condition()
        self._waiting: collections.deque[Answer] = collections.deque()
        self._calls: collections.deque = collections.deque()
        self._active: collections.deque[Answer] = collections.deque()
        self._turns = 0                     # passes since the texts in front came there
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, prompt: Sequence[int], max_tokens: int, sampler: Sampler | None = None, *,
               conversation: Conversation | None = None,
               tell: Callable[[int | None | BaseException], None] | None = None) -> Answer:
        """Ask for a text.

        Parameters
        ----------
        prompt : sequence of int
            At least one token.
        max_tokens : int
            Tokens to make; a stop token ends the text earlier.
        sampler : Sampler or None
            Chooses the tokens, for this text alone; None: the best ones.
        conversation : Conversation or None
            Where to go on, with no other text under way; None: a new one.
        tell : callable or None
            Called in the scheduler's thread with each token, and with None or an error at the end;
            None: the answer is an iterator of its tokens.

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
        sampler.begin(prompt)
        if conversation is None:
            conversation = self._engine.open()
        answer = Answer(conversation, prompt, max_tokens, sampler, self._notify, tell)
        with self._changed:
            self._check_open()
            if any(other.conversation is conversation
                   for other in itertools.chain(self._waiting, self._active)):
                raise BadInput("A text of this conversation is under way: take that to its end, or "
                               "cancel it.")
            if len(self._waiting) >= self._most_waiting:
                raise DeviceBusy(f"{len(self._waiting)} texts wait for {self._engine.name} "
                                 "already: try again later.")
            self._waiting.append(answer)
            self._changed.notify()
        return answer

    def call(self, function: Callable, *arguments):
        """Return what a function of the engine, or of a conversation, gives between two passes."""
        done: queue.SimpleQueue = queue.SimpleQueue()
        with self._changed:
            self._check_open()
            self._calls.append((function, arguments, done))
            self._changed.notify()
        result, error = done.get()
        if error is not None:
            raise error
        return result

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
            raise BadInput("The scheduler is closed: make another.")

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
                answer._end(error)
            for _, _, done in self._calls:
                done.put((None, error or BadInput("The scheduler is closed: make another.")))

    def _admit(self) -> bool:
        """Wait until there is something to do; return whether there is."""
        with self._changed:
            while True:
                if self._closing:
                    return False
                self._drop_cancelled()
                while self._waiting and len(self._active) < self._most_active:
                    self._active.append(self._waiting.popleft())
                if self._active or self._calls:
                    break
                self._changed.wait()
            calls = list(self._calls)
            self._calls.clear()
        for function, arguments, done in calls:
            try:
                done.put((function(*arguments), None))
            except BaseException as error:
                done.put((None, error))
        return True

    def _drop_cancelled(self) -> None:
        for texts in (self._active, self._waiting):
            for answer in [answer for answer in texts if answer._cancelled]:
                texts.remove(answer)
                answer._end()

    def _pass(self) -> None:
        """Let the texts in front take their tokens."""
        works = self._works()
        if not works:
            return
        try:
            results = self._engine.step([work for _, work in works])
        except Exception as error:
            for answer, _ in works:
                self._leave(answer, error)
            return
        for (answer, work), result in zip(works, results, strict=True):
            if answer._took(work, result, self._engine.stop_tokens):
                self._leave(answer)
        self._turns += 1
        if self._turns >= self._engine.quantum:
            self._turns = 0
            with self._changed:
                self._active.rotate(-len(works))

    def _leave(self, answer: Answer, error: BaseException | None = None) -> None:
        with self._changed:
            self._active.remove(answer)
        answer._end(error)

    def _works(self) -> list[tuple[Answer, Work]]:
        """Share out the lanes: one to each of the texts in front, the rest to their prompts."""
        lanes = self._engine.lanes
        if len(self._active) == 1:
            lanes = max(lanes, self._engine.piece)      # nobody waits for the end of the piece
        front = list(itertools.islice(self._active, lanes))
        spare, works = lanes - len(front), []
        for answer in front:
            work = answer._work(1 + spare)
            spare -= len(work.tokens) - 1
            works.append((answer, work))
        return works
