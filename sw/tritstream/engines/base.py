"""What every device can do, whether it is a board or this computer."""

import abc
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.engines.conversation import Conversation
from tritstream.engines.score import score_logits
from tritstream.engines.state import INTEGERS, State
from tritstream.errors import BadInput, DeviceBusy
from tritstream.support.checks import checked_tokens

__all__ = ["Engine", "Pass", "Work"]


class Pass(NamedTuple):
    """What one pass over the tape gave.

    Parameters
    ----------
    candidates : Candidates or None
        None if the head was not played; the best one alone unless all were asked for.
    digest : int or None
        Running CRC-32 of all stage vectors of the conversation; None where there are none.
    """

    candidates: Candidates | None
    digest: int | None

    def told(self, candidates: bool) -> "Pass":
        """Return what is told of it with or without the candidates behind the best one."""
        if candidates or self.candidates is None or len(self.candidates.tokens) == 1:
            return self
        return Pass(self.candidates.alone, self.digest)


class Work(NamedTuple):
    """What one conversation takes in a step of its engine.

    Parameters
    ----------
    conversation : Conversation
        Of that engine.
    tokens : sequence of int
        One or more.
    head : bool
        Whether it is asked what comes behind the last of them.
    candidates : bool
        Whether all candidates are wanted then, not the best one alone.
    """

    conversation: Conversation
    tokens: Sequence[int]
    head: bool = True
    candidates: bool = True


class Engine(abc.ABC):
    """One model on one device; conversations with it come from `open`.

    The digest of a conversation follows `docs/link.md`, so equal tokens in equal order give equal
    digests on all devices that compute in integers. One call runs at a time: another that comes
    meanwhile, from this thread or another, raises `DeviceBusy`.

    A subclass says what its device is, and moves it: the methods with an underscore are called one
    at a time, with tokens that are in the vocabulary. The device is at one place, a recurrent state
    and a running digest, that they move on from.
    """

    name: str
    """What the user called it."""

    model: str
    """Digest of the model in it, 64 hexadecimal digits."""

    kind: str = INTEGERS
    """In which numbers it computes, see `tritstream.engines.state`."""

    shape: tuple[int, int]
    """Layers and hidden size: the shape of its recurrent state."""

    evidence: str = "measured"
    """How `seconds` is obtained: `measured` on this computer's clock, or `simulated`."""

    kept: int = CANDIDATES
    """Candidates that a pass reports."""

    piece: int = 256
    """Tokens of a prompt that are fed together: few enough to tell how far it is."""

    lanes: int = 1
    """Tokens that it takes in one pass over the weights, of one conversation or of several."""

    uniform: bool = True
    """Whether a pass takes as long with one token as with one in each lane: full ones pay then."""

    prefill: int = 16
    """Tokens without the head that a step takes beside one with it of each of `lanes` texts: so few
    that these do not wait much longer for them than for each other.
    """

    slots: int | None = None
    """Conversations whose states stay where it computes; those of more go to the host and come
    back. None: of any number."""

    quantum: int = 1
    """Steps for which it pays to stay with the same conversations, for the way of their states."""

    vocab: int
    """Tokens of the model."""

    stop_tokens: tuple[int, ...]
    """Tokens behind which a run does not go on."""

    prepares: tuple[int, ...] = ()
    """Numbers of texts side by side whose first steps take long, see `prepare`."""

    runs_ahead: bool = False
    """Whether a run computes passes before they are asked for."""

    ahead: int = 1
    """Steps of a run that it pays to ask for at once."""

    beyond: int = 1
    """Steps that a run may take at most behind the one in which it is seen to be enough."""

    build: str | None = None
    """Identity of the bitstream or the simulator, hexadecimal; None if there is none."""

    clock_hz: int | None = None
    """Clock of the accelerator, None if there is none."""

    cycles: int | None = None
    """Clock cycles of all passes so far, None if there is no clock."""

    stalls: int | None = None
    """Those of them in which the datapath waited for weights."""

    def __init__(self):
        self._lock = threading.Lock()           # of whoever has the device
        self._opening = threading.Lock()
        self._open: weakref.WeakSet[Conversation] = weakref.WeakSet()
        self._closed = False
        self._released = False
        self._current = _nobody         # whose place the device is at

    @property
    def stop_token(self) -> int | None:
        """Token at which a device that runs ahead ends by itself."""
        return next(iter(self.stop_tokens), None)

    @property
    def seconds(self) -> float:
        """Time on the clock that `evidence` speaks of; only differences mean anything."""
        return time.perf_counter()

    def open(self, state: State | None = None) -> Conversation:
        """Begin a conversation, or go on from a saved state.

        Raises
        ------
        BadInput
            The state is of another model or kind, or damaged; or the engine is closed.
        """
        conversation = Conversation(self, state)
        with self._opening:
            self._check_open()
            self._open.add(conversation)
        return conversation

    def step(self, works: Sequence[Work]) -> list[Pass]:
        """Take tokens of several conversations, in as few passes as there are lanes for.

        Each gives what it gives alone. A call that fails, or is interrupted, leaves all of the
        conversations as they were.

        Returns
        -------
        list of Pass
            Of the last token of each work.

        Raises
        ------
        BadInput
            A work has no tokens or one out of range, or its conversation is closed, of another
            engine, or has a work already.
        """
        works = self._checked_works(works)
        with self._claimed(), self._whole(works):
            results = self._together(works)
        return [result.told(work.candidates) for work, result in zip(works, results, strict=True)]

    def run(self, tokens: Mapping[Conversation, int], count: int,
            enough: Callable[[], bool] | None = None) -> Iterator[list[Pass]]:
        """Take a token of each of several conversations, then greedily what follows.

        Each gives what it gives alone. At most `count` steps, each as it is done; the one in which
        any conversation finds `stop_token` is the last. A conversation that is closed meanwhile
        goes along to the end. The device is busy until the last of these is delivered, or the
        iterator is closed or exhausted.

        A run that is closed early leaves a device that runs ahead somewhere else, from where it has
        to be put back. One that `enough` ends does not.

        Parameters
        ----------
        tokens : mapping of Conversation to int
            The first token of each.
        count : int
            Most steps.
        enough : callable or None
            Asked when a step is delivered. Once it is true no more are begun, but for `beyond` that
            the device may have begun already, which are delivered, too.

        Yields
        ------
        list of Pass
            Of each conversation in turn, with the best candidate alone.

        Raises
        ------
        BadInput
            A token is out of range, or a conversation is closed or of another engine, or there is
            none, or `count` is less than 1.
        """
        works = self._checked_works([Work(conversation, [token], candidates=False)
                                     for conversation, token in tokens.items()])
        if not works:
            raise BadInput("A run has no conversations: give at least one.")
        if count < 1:
            raise BadInput(f"The number of steps must be at least 1, not {count}.")
        return self._steps(works, count, enough)

    def _steps(self, works: list[Work], count: int,
               enough: Callable[[], bool] | None) -> Iterator[list[Pass]]:
        stop = self.stop_token
        with self._claimed(), contextlib.closing(
                self._run_together(works, count, enough)) as steps:
            for left in reversed(range(count)):
                with self._whole(works):
                    step = next(steps, None)
                    if step is None:
                        return                  # it was enough
                    results = [result.told(False) for result in step]
                    last = not left or any(result.candidates.best == stop for result in results)
                    if last:
                        next(steps, None)       # the device ends by itself
                if last:
                    break
                try:
                    yield results
                    self._check_open()          # it may have been closed meanwhile
                except BaseException:
                    if self.runs_ahead:
                        self._give_up(works)
                    raise
        yield results                           # the last: nothing is under way any more

    @contextlib.contextmanager
    def _whole(self, works: list[Work]):
        """Leave the conversations of works as they were if what is done here fails."""
        marks = [work.conversation._mark() for work in works]
        try:
            yield
        except BaseException:
            self._give_up(works)
            for work, mark in zip(works, marks, strict=True):
                work.conversation._return_to(mark)
            raise

    def _give_up(self, works: list[Work]) -> None:
        """Forget where the device is with the conversations of works."""
        self._lose()
        for work in works:
            self._forget(work.conversation)

    def _checked_works(self, works: Sequence[Work]) -> list[Work]:
        works = [Work(conversation, conversation._checked(tokens), head, candidates)
                 for conversation, tokens, head, candidates in works]
        if any(work.conversation._engine is not self for work in works):
            raise BadInput(f"A conversation is with another engine than this {self.name}: step "
                           "each engine with its own.")
        if len({id(work.conversation) for work in works}) < len(works):
            raise BadInput("A conversation has two works in one step: join their tokens.")
        if not all(work.tokens for work in works):
            raise BadInput("A work has no tokens: give at least one, or leave it out.")
        return works

    def prepare(self, count: int) -> None:
        """Take steps such as a server asks for, with `count` texts side by side; none is left.

        What an engine makes for so many when it first has them is there then, and nobody waits for
        it: a GPU compiles in a first step, and records in a second one.
        """
        for turn in range(2):
            with contextlib.ExitStack() as stack:
                texts = [stack.enter_context(self.open()) for _ in range(count)]
                self.step([Work(text, [0]) for text in texts])
                for length in (count, 2 * self.lanes + 1 + turn):   # a short prompt, and a long one
                    self.step([Work(texts[0], length * [0])])
                for _ in self.run(dict.fromkeys(texts, 0), self.ahead, lambda: False):
                    pass

    def stage_digests(self, tokens: Sequence[int], *, head: bool) -> list[int]:
        """Take tokens afresh, and return the digests after each stage of the last pass."""
        tokens = checked_tokens(tokens, self.vocab)
        with self._afresh():
            return self._stage_digests(tokens, head)

    def stage_vector(self, tokens: Sequence[int], stage: int) -> np.ndarray:
        """Take tokens afresh, and return the vector of one stage of the last pass."""
        tokens = checked_tokens(tokens, self.vocab)
        with self._afresh():
            return self._stage_vector(tokens, stage)

    def reference(self, checkpoint):
        """Return the float reference of a checkpoint, where this engine computes."""
        from tritstream.reference import FloatModel

        return FloatModel(checkpoint)

    def close(self) -> None:
        """End all conversations, and leave the device idle and free.

        A call that another thread has under way comes to its end, and frees the device then.
        """
        with self._opening:
            self._closed = True
            conversations = list(self._open)
        for conversation in conversations:
            conversation.close()
        self._release_if_idle()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # What a subclass does with its device.

    @abc.abstractmethod
    def _put(self, values: np.ndarray | None) -> None:
        """Make `values` the recurrent state; None: zeros, with the digest 0."""

    @abc.abstractmethod
    def _go_on_from(self, digest: int | None) -> None:
        """Make `digest` the running digest."""

    @abc.abstractmethod
    def _values(self) -> np.ndarray:
        """Return a copy of the recurrent state, in the type of its kind."""

    @abc.abstractmethod
    def _feed(self, tokens: list[int]) -> list[Pass]:
        """Take tokens, at least one, without the head."""

    @abc.abstractmethod
    def _step(self, token: int) -> Pass:
        """Take one token with the head."""

    def _together(self, works: list[Work]) -> list[Pass]:
        """Take the tokens of works, which is noted in their conversations; here, one by one."""
        results = []
        for conversation, tokens, head, candidates in works:
            self._enter(conversation)
            before = tokens[:-1] if head else tokens
            if before:
                result = self._feed(before)[-1]
            if head:
                (result,) = self._run(tokens[-1], 1, candidates)
            conversation._took(tokens, result.digest, heads=int(head))
            results.append(result)
        return results

    def _run_together(self, works: list[Work], count: int,
                      enough: Callable[[], bool] | None) -> Iterator[list[Pass]]:
        """Take the token of each work and go on greedily, which is noted in their conversations.

        `count` steps, or up to `stop_token` of any, or as few more as can be when it is enough.
        """
        if len(works) == 1:
            ((conversation, (token,), *_),) = works
            self._enter(conversation)
            with contextlib.closing(self._run(token, count, False, enough)) as passes:
                for result in passes:
                    conversation._took([token], result.digest, heads=1)
                    yield [result]
                    token = result.candidates.best
            return
        for _ in range(count):
            results = self._together(works)
            yield results
            tokens = [result.candidates.best for result in results]
            if self.stop_token in tokens or enough and enough():
                return
            works = [Work(work.conversation, [token], candidates=False)
                     for work, token in zip(works, tokens, strict=True)]

    def _run(self, token: int, count: int, candidates: bool,
             enough: Callable[[], bool] | None = None) -> Iterator[Pass]:
        """Take a token and go on greedily, for `count` passes or up to `stop_token`.

        More than the best candidate need only be there if `candidates` are wanted. When it is
        enough it ends earlier, as soon as can be.
        """
        for _ in range(count):
            result = self._step(token)
            yield result
            token = result.candidates.best
            if token == self.stop_token or enough and enough():
                return

    @abc.abstractmethod
    def _logits(self, tokens: list[int]) -> tuple[np.ndarray, int | None]:
        """Take tokens, at least one; all logits, float32 [T, V], and the running digest."""

    def _score(self, tokens: list[int],
               targets: list[int]) -> tuple[float, np.ndarray, int | None]:
        """Take tokens; what `score_logits` makes of their logits, and the running digest."""
        rows, digest = self._logits(tokens)
        return *score_logits(rows, targets), digest

    def _stage_digests(self, tokens: list[int], head: bool) -> list[int]:
        raise self._without_stages()

    def _stage_vector(self, tokens: list[int], stage: int) -> np.ndarray:
        raise self._without_stages()

    def _release(self) -> None:
        """Leave the device idle and free; an engine on this computer holds nothing."""
        return

    def _without_stages(self) -> BadInput:
        return BadInput(f"{self.name} has no integer stages to compare: use golden, cuda, "
                        "sim, tcp:HOST:PORT or serial:PORT.")

    # Whose turn it is.

    def _check_open(self) -> None:
        if self._closed:
            raise BadInput(f"{self.name} is closed: open it again.")

    @contextlib.contextmanager
    def _claimed(self):
        """Have the device for one call, or one run."""
        self._check_open()
        if not self._lock.acquire(blocking=False):
            raise DeviceBusy(f"{self.name} is busy with another run or call: take that to its end, "
                             "or close it.")
        try:
            self._check_open()          # it may have been closed meanwhile
            yield
        finally:
            self._lock.release()
            if self._closed:
                self._release_if_idle()

    def _release_if_idle(self) -> None:
        """Free the device of a closed engine, unless a call has it, which does that at its end."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._released:
                    self._released = True
                    self._release()
            finally:
                self._lock.release()

    def _enter(self, conversation: Conversation) -> None:
        """Put the device behind the last token of a conversation."""
        if self._current() is conversation:
            return
        self._leave()
        self._bring(conversation)
        self._go_on_from(conversation.digest)
        self._current = weakref.ref(conversation)

    def _leave(self) -> None:
        """Note the state of the conversation that the device is at, if that can still go on."""
        current = self._current()
        self._lose()
        if current is not None and not current.closed:
            self._put_away(current)

    def _lose(self) -> None:
        """Forget where the device is: whose turn comes next is put in its place."""
        self._current = _nobody

    def _put_away(self, conversation: Conversation) -> None:
        """Let the state that the device is at be found again; here, it goes to the host."""
        conversation._keep(self._values())

    def _bring(self, conversation: Conversation) -> None:
        """Make the state behind the last token of a conversation that of the device."""
        self._put(conversation._values)
        if conversation._since:
            self._feed(conversation._since)

    def _copy(self, other: Conversation) -> bool:
        """Keep the state that the device is at for another conversation; here, it cannot."""
        return False

    def _forget(self, conversation: Conversation) -> None:
        """Give up what the device keeps of a conversation that it is not at; here, nothing."""
        return

    @contextlib.contextmanager
    def _afresh(self):
        """Have the device for a call, at no conversation's place."""
        with self._claimed():
            self._leave()
            self._put(None)
            yield


def _nobody() -> None:
    """Reference to no conversation, as a dead `weakref.ref`."""
