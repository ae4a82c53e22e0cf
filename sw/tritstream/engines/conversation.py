"""One text on its way through a model: what is the same on every device."""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tritstream.engines.state import INTEGERS, State
from tritstream.errors import BadInput
from tritstream.support.checks import checked_tokens

if TYPE_CHECKING:
    from tritstream.engines.base import Engine, Pass

__all__ = ["Conversation"]

class Conversation:
    """A conversation with the model of an engine; `Engine.open` makes one.

    Any number of conversations share an engine: the state of the one that is left goes to the host,
    and comes back when it is continued. A call that fails, or is interrupted, leaves the
    conversation as it was before; a run that is left after some passes leaves it behind the last
    one that was delivered. A device that has got further is put back before the next call.

    Parameters
    ----------
    engine : Engine
        Where it takes place.
    state : State or None
        Where it goes on; None: at the beginning.

    Raises
    ------
    BadInput
        The state belongs to another model or another kind of engine, or is damaged.
    """

    replayed = 64
    """Tokens that would rather be taken again behind a run than the state be read before it."""

    def __init__(self, engine: "Engine", state: State | None = None):
        self._engine = engine
        self._tokens: list[int] = []
        self._heads = bytearray()       # for each of them, whether the head was played behind it
        self._digest = 0 if engine.kind == INTEGERS else None
        self._values: np.ndarray | None = None      # where the device can be put; None: zeros
        self._since: list[int] = []                 # tokens taken since then
        self._runs: weakref.WeakSet = weakref.WeakSet()
        self._closed = False
        if state is not None:
            state.check(model=engine.model, kind=engine.kind, shape=engine.shape,
                        vocab=engine.vocab, device=engine.name)
            self._tokens = list(state.tokens)
            self._heads = bytearray(state.heads)
            self._digest = state.digest
            self._values = state.values

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens that it has taken."""
        return tuple(self._tokens)

    @property
    def digest(self) -> int | None:
        """Running CRC-32 of all stage vectors; None on an engine of floats."""
        return self._digest

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    def feed(self, tokens: Sequence[int]) -> "list[Pass]":
        """Take tokens without asking what comes next: the head is not played."""
        tokens = self._checked(tokens)
        if not tokens:
            return []
        with self._turn():
            results = self._engine._feed(tokens)
            self._took(tokens, results[-1].digest, heads=0)
        return results

    def step(self, token: int) -> "Pass":
        """Take one token and report the best candidates for the next."""
        (token,) = self._checked([token])
        with self._turn():
            result = self._engine._step(token)
            self._took([token], result.digest, heads=1)
        return result

    def run(self, token: int, count: int, *, candidates: bool = False) -> "Iterator[Pass]":
        """Take a token, then greedily what follows: at most `count` passes, each as it is done.

        A pass has the best candidate alone, unless all `candidates` are wanted. The one that finds
        the stop token is the last. The device is busy from the first pass until the last is
        delivered or the iterator is closed.
        """
        (token,) = self._checked([token])
        if count < 1:
            raise BadInput(f"The number of passes must be at least 1, not {count}.")
        run = self._run(token, count, candidates)
        self._runs.add(run)
        return run

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Take tokens and return all logits after each, float32 [T, V]."""
        tokens = self._checked(tokens)
        if not tokens:
            return np.empty((0, self._engine.vocab), np.float32)
        with self._turn():
            rows, digest = self._engine._logits(tokens)
            self._took(tokens, digest, heads=len(tokens))
        return rows

    def score(self, tokens: Sequence[int],
              targets: Sequence[int]) -> tuple[float, np.ndarray]:
        """Take tokens; how unlikely the targets are in nats, and the favourites, int64 [T].

        A target is what comes after the token in its place.
        """
        tokens, targets = self._checked(tokens), self._checked(targets)
        if len(tokens) != len(targets):
            raise BadInput(f"There are {len(targets)} targets for {len(tokens)} tokens: give one "
                           "for each.")
        if not tokens:
            return 0.0, np.empty(0, np.int64)
        with self._turn():
            nats, favourites, digest = self._engine._score(tokens, targets)
            self._took(tokens, digest, heads=len(tokens))
        return nats, favourites

    def fork(self) -> "Conversation":
        """Begin another that goes on from here; neither knows of the other."""
        with self._turn():
            other = self._engine.open()
            if not self._engine._copy(other):
                self._keep(self._engine._values())
            other._tokens, other._heads = list(self._tokens), bytearray(self._heads)
            other._digest, other._values = self._digest, self._values
            other._since = list(self._since)
            return other

    def save(self) -> State:
        """Return what any engine of this kind, with this model, can go on from."""
        with self._turn():
            self._keep(self._engine._values())
            return State(model=self._engine.model, kind=self._engine.kind, tokens=self.tokens,
                         heads=bytes(self._heads), digest=self._digest, values=self._values)

    def close(self) -> None:
        """End it, and its run if one lives; the engine stays open for others.

        What another thread has under way comes to its end: a call returns its answer, and a run
        raises `BadInput` behind the pass that it computes.
        """
        self._closed = True
        for run in list(self._runs):
            # One that runs in another thread ends there. Python refuses to close it, and 3.12 dies.
            if not run.gi_running:
                with contextlib.suppress(ValueError):
                    run.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _run(self, token: int, count: int, candidates: bool) -> "Iterator[Pass]":
        engine = self._engine
        with self._turn():
            if engine.runs_ahead and count > 1 and len(self._since) > self.replayed:
                self._keep(engine._values())
            with contextlib.closing(engine._run(token, count, candidates)) as passes:
                for left, result in zip(reversed(range(count)), passes, strict=False):
                    result = result.told(candidates)
                    self._check_open()          # another thread may have closed it
                    best = result.candidates.best
                    if not left or best in engine.stop_tokens:
                        break
                    self._took([token], result.digest, heads=1)
                    yield result
                    token = best
                if not left or best == engine.stop_token:
                    next(passes, None)      # the device ends by itself
                elif engine.runs_ahead:
                    engine._lose()
            self._took([token], result.digest, heads=1)
        yield result                        # the last: nothing is under way any more

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        self._check_open()
        return checked_tokens(tokens, self._engine.vocab)

    def _check_open(self) -> None:
        if self._closed:
            raise BadInput("This conversation is closed: open another.")

    def _took(self, tokens: list[int], digest: int | None, heads: int) -> None:
        """Note tokens, behind the last `heads` of which the head was played."""
        self._tokens += tokens
        self._heads += bytes(len(tokens) - heads) + b"\1" * heads
        self._since += tokens
        self._digest = digest

    def _took_one(self, token: int, digest: int | None) -> None:
        """Note one token, behind which the head was played."""
        self._tokens.append(token)
        self._heads.append(1)
        self._since.append(token)
        self._digest = digest

    def _mark(self) -> tuple:
        """Return where the conversation is, for `_return_to`."""
        return len(self._tokens), self._digest, self._values, self._since, len(self._since)

    def _return_to(self, mark: tuple) -> None:
        """Be again where `_mark` was called; the device may be anywhere."""
        count, self._digest, self._values, self._since, since = mark
        del self._tokens[count:], self._heads[count:], self._since[since:]

    @property
    def _at_rest(self) -> bool:
        """Whether the host has its state, so that a device need not keep it."""
        return not self._since

    def _keep(self, values: np.ndarray) -> None:
        """Note the recurrent state behind the last token, to go on from there."""
        values.setflags(write=False)        # saved states share it
        self._values = values
        self._since = []

    @contextlib.contextmanager
    def _turn(self):
        """Have the engine for a call, with the device behind the last token."""
        self._check_open()
        engine = self._engine
        with engine._claimed():
            engine._enter(self)
            try:
                yield
            except GeneratorExit:
                if engine.runs_ahead:
                    engine._lose()
                raise
            except BaseException:
                engine._lose()
                raise
