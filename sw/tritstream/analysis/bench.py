"""How fast a device takes prompts, and makes text."""

import dataclasses
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tritstream.engines import Conversation, Engine, Work
from tritstream.errors import BadInput

__all__ = ["Speed", "SpeedTest", "measure"]


class SpeedTest(NamedTuple):
    """What is measured: either of the first two is 0.

    Parameters
    ----------
    n_prompt : int
        Tokens of a prompt, of which nobody asks what comes next.
    n_gen : int
        Tokens that are made greedily.
    lanes : int
        Conversations that do it side by side.
    """

    n_prompt: int
    n_gen: int
    lanes: int = 1

    @property
    def name(self) -> str:
        """As llama-bench calls it."""
        return f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"

    @property
    def tokens(self) -> int:
        """Of all conversations."""
        return self.lanes * (self.n_prompt + self.n_gen)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured.

    Parameters
    ----------
    rates : tuple of float
        Tokens per second of all conversations, of each repetition.
    cycles_per_token, stalls : float or None
        Cycles of the accelerator, and those of them in which its datapath waited for weights; None
        without a clock.
    """

    rates: tuple[float, ...]
    cycles_per_token: float | None
    stalls: float | None

    @property
    def tokens_per_second(self) -> float:
        """Mean of the repetitions."""
        return statistics.fmean(self.rates)

    @property
    def deviation(self) -> float:
        """Standard deviation of one repetition, 0 if there is but one."""
        return statistics.stdev(self.rates) if len(self.rates) > 1 else 0.0


def measure(engine: Engine, test: SpeedTest, repetitions: int,
            progress: Callable[[int, int], None]) -> Speed:
    """Measure on the engine's own clock, see `Engine.seconds`.

    Parameters
    ----------
    engine : Engine
        Idle.
    test : SpeedTest
        What conversations that begin afresh do, with tokens that are the same in every call.
    repetitions : int
        How often.
    progress : callable
        Told the repetitions that are done, and all.

    Raises
    ------
    BadInput
        The engine has fewer lanes.
    """
    if test.lanes > engine.lanes:
        raise BadInput(f"{engine.name} has lanes for {engine.lanes} at a time, not for "
                       f"{test.lanes}: give fewer --lanes, or another device.")
    draw = random.Random(0)
    prompts = [[draw.randrange(engine.vocab) for _ in range(test.n_prompt or 1)]
               for _ in range(test.lanes)]
    _play(engine, SpeedTest(0, 1, test.lanes), prompts)     # what happens only once does not count
    cycles, stalls, rates = engine.cycles, engine.stalls, []
    for done in range(repetitions):
        progress(done, repetitions)
        began = engine.seconds
        _play(engine, test, prompts)
        rates.append(test.tokens / (engine.seconds - began))
    if engine.cycles is None:
        return Speed(rates=tuple(rates), cycles_per_token=None, stalls=None)
    tokens = repetitions * test.tokens
    return Speed(rates=tuple(rates), cycles_per_token=(engine.cycles - cycles) / tokens,
                 stalls=(engine.stalls - stalls) / tokens)


def _play(engine: Engine, test: SpeedTest, prompts: Sequence[list[int]]) -> None:
    with ExitStack() as stack:
        conversations = [stack.enter_context(engine.open()) for _ in prompts]
        if test.n_prompt:
            _feed(engine, conversations, prompts)
        elif len(prompts) == 1:
            _run(conversations[0], prompts[0][0], test.n_gen)
        else:
            _step(engine, conversations, [prompt[0] for prompt in prompts], test.n_gen)


def _feed(engine: Engine, conversations: list[Conversation],
          prompts: Sequence[list[int]]) -> None:
    engine.step([Work(conversation, prompt, head=False)
                 for conversation, prompt in zip(conversations, prompts, strict=True)])


def _run(conversation: Conversation, token: int, count: int) -> None:
    """Make tokens of one text, as fast as the device does by itself; behind an end begins one."""
    while count > 0:
        count -= sum(1 for _ in conversation.run(token, count))


def _step(engine: Engine, conversations: list[Conversation], tokens: list[int],
          count: int) -> None:
    """Make tokens of texts side by side, as fast as the device does by itself."""
    while count > 0:
        for passes in engine.run(dict(zip(conversations, tokens, strict=True)), count):
            tokens = [result.candidates.best for result in passes]
            count -= 1
