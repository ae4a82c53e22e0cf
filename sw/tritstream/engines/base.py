"""What every device can do, whether it is a board or this computer."""

import abc
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tritstream.analysis.evaluate import score_logits
from tritstream.errors import BadInput
from tritstream.runtime.sampling import CANDIDATES, Candidates

__all__ = ["Engine", "Pass"]


class Pass(NamedTuple):
    """What one pass over the tape gave.

    Parameters
    ----------
    candidates : Candidates or None
        None if the head was not played.
    digest : int or None
        Running CRC-32 of all stage vectors of the conversation; None where there are none.
    """

    candidates: Candidates | None
    digest: int | None


class Engine(abc.ABC):
    """One conversation with one model on one device.

    Tokens continue the conversation; `start` begins another. The digest follows `docs/link.md`, so
    equal tokens in equal order give equal digests on all devices that compute in integers.
    """

    name: str
    """What the user called it."""

    evidence: str = "measured"
    """How `seconds` is obtained: `measured` on this computer's clock, or `simulated`."""

    kept: int = CANDIDATES
    """Candidates that a pass reports."""

    piece: int = 256
    """Tokens of a prompt that are fed together: few enough to tell how far it is."""

    vocab: int
    """Tokens of the model."""

    stop_token: int | None
    """Token behind which `run` does not go on."""

    clock_hz: int | None = None
    """Clock of the accelerator, None if there is none."""

    cycles: int | None = None
    """Clock cycles of all passes so far, None if there is no clock."""

    stalls: int | None = None
    """Those of them in which the datapath waited for weights."""

    @property
    def seconds(self) -> float:
        """Time on the clock that `evidence` speaks of; only differences mean anything."""
        return time.perf_counter()

    @abc.abstractmethod
    def start(self) -> None:
        """Begin a conversation: the recurrent state and the digest are zero."""

    @property
    @abc.abstractmethod
    def digest(self) -> int | None:
        """Running digest of the conversation; None for an engine without integer vectors."""

    @abc.abstractmethod
    def feed(self, tokens: Sequence[int]) -> list[Pass]:
        """Take tokens without asking what comes next: the head is not played."""

    @abc.abstractmethod
    def step(self, token: int) -> Pass:
        """Take one token and report the best candidates for the next."""

    def run(self, token: int, count: int) -> Iterator[Pass]:
        """Take a token, then greedily what follows: at most `count` passes, each as it is done.

        The pass that finds the stop token is the last.
        """
        for _ in range(count):
            result = self.step(token)
            yield result
            token = result.candidates.best
            if token == self.stop_token:
                return

    @abc.abstractmethod
    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Take tokens and return all logits after each, float32 [T, V]."""

    def score(self, tokens: Sequence[int],
              targets: Sequence[int]) -> tuple[float, np.ndarray]:
        """Take tokens; how unlikely the targets are in nats, and the favourites, int64 [T].

        A target is what comes after the token in its place.
        """
        return score_logits(self.logits(tokens), targets)

    def reference(self, checkpoint):
        """Return the float reference of a checkpoint, where this engine computes."""
        from tritstream.reference import FloatModel

        return FloatModel(checkpoint)

    @abc.abstractmethod
    def save_state(self) -> np.ndarray:
        """Return the recurrent state [L, H]; its meaning is the engine's own."""

    @abc.abstractmethod
    def restore_state(self, state: np.ndarray) -> None:
        """Go on from a saved state; the digest goes on as it was."""

    def stage_digests(self, tokens: Sequence[int], *, head: bool) -> list[int]:
        """Start afresh, take tokens, and return the digests after each stage of the last pass."""
        raise self._without_stages()

    def stage_vector(self, tokens: Sequence[int], stage: int) -> np.ndarray:
        """Start afresh, take tokens, and return the vector of one stage of the last pass."""
        raise self._without_stages()

    def close(self) -> None:
        """Leave the device idle and free; an engine on this computer holds nothing."""
        return

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _without_stages(self) -> BadInput:
        return BadInput(f"{self.name} has no integer stages to compare: use golden, cuda, "
                        "sim, tcp:HOST:PORT or serial:PORT.")

    def _check(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens as a list if they are in the vocabulary."""
        tokens = [int(token) for token in tokens]
        for token in tokens:
            if not 0 <= token < self.vocab:
                raise BadInput(f"Token {token} is out of range: this model has tokens 0 to "
                               f"{self.vocab - 1}.")
        return tokens
