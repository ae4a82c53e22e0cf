"""A conversation between two turns: where it is, and the ways back."""

import collections
import dataclasses
from collections.abc import Callable

import numpy as np

from tritstream.engines.state import State
from tritstream.errors import BadInput
from tritstream.runtime.scheduler import Answer, Scheduler

__all__ = ["History"]

MARKS = 16                  # ends of turns whose states are kept, so that ways back are short


class History:
    """Where a conversation is at the end of its latest turn, and what leads back.

    An earlier place is reached from the nearest earlier end of a turn, or else from the beginning,
    by taking the tokens in between as they were taken then: state and digest are what they were.

    Parameters
    ----------
    state : State
        Where it is.
    """

    def __init__(self, state: State):
        self.state = state
        # Digests and recurrent states by the tokens taken; the latest turn is last.
        self._marks: collections.OrderedDict[int, tuple[int | None, np.ndarray]] = (
            collections.OrderedDict())
        self.advance(state)

    def advance(self, state: State) -> None:
        """Go on to the end of another turn."""
        self.state = state
        self._marks[len(state.tokens)] = state.digest, state.values
        if len(self._marks) > MARKS:
            self._marks.popitem(last=False)

    def go_back(self, count: int, scheduler: Scheduler) -> None:
        """Be again where the text had `count` tokens, see `before`; what came then is forgotten."""
        self.state = self.before(count, scheduler)
        for mark in [mark for mark in self._marks if mark > len(self.state.tokens)]:
            del self._marks[mark]

    def before(self, count: int, scheduler: Scheduler, *,
               begun: Callable[[Answer], None] = lambda answer: None) -> State:
        """Return the state of the conversation when its text had `count` tokens.

        The last of them is pending, so that what came next can come again, or something else. It
        waits for the scheduler if tokens have to be taken again.

        Parameters
        ----------
        count : int
            Tokens of its text.
        scheduler : Scheduler
            Takes tokens again.
        begun : callable
            Called when it does, with what can be cancelled.

        Raises
        ------
        BadInput
            It has not so many tokens, or was cancelled.
        DeviceError
            The device fails.
        """
        state = self.state
        if not 0 <= count <= len(state.text):
            raise BadInput(f"The conversation has {len(state.text)} tokens: give a number of 0 to "
                           f"{len(state.text)}, not {count}.")
        if count == len(state.text):
            return state
        taken = min(max(0, count - 1), len(state.tokens))
        start = self._nearest(taken)
        tokens, pending = state.tokens[len(start.tokens):taken], state.text[taken:count]
        if not tokens:
            return dataclasses.replace(start, pending=pending)
        answer = scheduler.replay(tokens, state.heads[len(start.tokens):taken], start=start,
                                  pending=pending)
        begun(answer)
        for _ in answer:
            pass
        if answer.state is None:
            raise BadInput("The way back was ended, or the scheduler closed, before its end: try "
                           "again.")
        return answer.state

    def _nearest(self, taken: int) -> State:
        """Return the state at the latest mark where not more than `taken` tokens were taken."""
        state = self.state
        marks = {0: (state.digest and 0, np.zeros_like(state.values))} | self._marks
        count = max(mark for mark in marks if mark <= taken)
        digest, values = marks[count]
        return dataclasses.replace(state, tokens=state.tokens[:count], heads=state.heads[:count],
                                   digest=digest, values=values, pending=())
