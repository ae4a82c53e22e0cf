"""Text from a prompt on any device, with the time that it took."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from tritstream.engines import Engine
from tritstream.errors import BadInput
from tritstream.runtime.sampling import Sampler

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
    """One text being made; what there is of it stays usable after an interrupt.

    Parameters
    ----------
    engine : Engine
        Where; its conversation starts anew.
    prompt : sequence of int
        At least one token.
    count : int
        Tokens to generate; the engine's stop token ends the text earlier.
    sampler : Sampler
        Chooses the tokens. A greedy run goes on by itself on the device.

    Raises
    ------
    BadInput
        The prompt or the count is empty, or the sampler needs more candidates than there are.
    """

    def __init__(self, engine: Engine, prompt: Sequence[int], count: int, sampler: Sampler):
        if not len(prompt):
            raise BadInput("The prompt is empty; give at least one token.")
        if count < 1:
            raise BadInput(f"The number of tokens must be at least 1, not {count}.")
        sampler.check(engine.kept, engine.name)
        self.engine = engine
        self.prompt = list(prompt)
        self.count = count
        self.sampler = sampler
        self.tokens: list[int] = []
        self.timings = Timings(engine.evidence, prompt_tokens=len(self.prompt),
                               clock_hz=engine.clock_hz)

    @property
    def digest(self) -> int | None:
        """Running digest so far."""
        return self.engine.digest

    def run(self, show: Callable[[int], None] = lambda token: None,
            show_prompt: Callable[[int, int], None] | None = None) -> None:
        """Generate.

        Parameters
        ----------
        show : callable
            Called with each token as it is made.
        show_prompt : callable
            Called with the tokens of the prompt that are done, and with all.
        """
        engine, timings = self.engine, self.timings
        engine.start()
        wall, began, cycles, stalls = (time.perf_counter(), engine.seconds, engine.cycles,
                                       engine.stalls)
        try:
            self._feed(show_prompt)
            for token in self._choices():
                elapsed = engine.seconds - began
                if not self.tokens:
                    timings.prompt_seconds = elapsed
                timings.generated_seconds = elapsed - timings.prompt_seconds
                self.tokens.append(token)
                timings.generated_tokens = len(self.tokens)
                show(token)
        finally:
            timings.wall_seconds = time.perf_counter() - wall
            if cycles is not None:
                timings.cycles = engine.cycles - cycles
                timings.stalls = engine.stalls - stalls

    def _feed(self, show: Callable[[int, int], None] | None) -> None:
        before, piece = self.prompt[:-1], self.engine.piece
        for start in range(0, len(before), piece):
            if show:
                show(start, len(before))
            self.engine.feed(before[start:start + piece])

    def _choices(self):
        token = self.prompt[-1]
        if self.sampler.greedy:
            for result in self.engine.run(token, self.count):
                yield result.candidates.best
            return
        for _ in range(self.count):
            token = self.sampler.choose(self.engine.step(token).candidates)
            yield token
            if token == self.engine.stop_token:
                return
