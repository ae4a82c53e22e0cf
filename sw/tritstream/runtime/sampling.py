"""The choice of the next token among a device's best candidates.

Everything is float64 on numbers that every device reports exactly, and the random numbers are
Python's own, whose sequence is part of its contract: the same seed gives the same text on the
golden model, in simulation and on a board.
"""

import itertools
import math
import random

from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.errors import BadInput

__all__ = ["Sampler"]


class Sampler:
    """Draws tokens; one sampler serves one text.

    Parameters
    ----------
    temperature : float
        Divides the logits; 0 always takes the best candidate.
    top_k : int
        How many of the best candidates take part.
    top_p : float
        Of these, the fewest whose probabilities add up to at least this take part.
    seed : int
        The same seed draws the same tokens.

    Raises
    ------
    BadInput
        A number is out of its range.
    """

    def __init__(self, *, temperature: float = 0.0, top_k: int = CANDIDATES, top_p: float = 1.0,
                 seed: int = 0):
        if not 0 <= temperature < math.inf:
            raise BadInput(f"The temperature must be at least 0 and finite, not {temperature}.")
        if top_k < 1:
            raise BadInput(f"top-k must be at least 1, not {top_k}.")
        if not 0 < top_p <= 1:
            raise BadInput(f"top-p must be above 0 and at most 1, not {top_p}.")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self._random = random.Random(seed)

    @property
    def greedy(self) -> bool:
        """Whether the best candidate is always taken, so that a device can go on by itself."""
        return self.temperature == 0

    def check(self, kept: int, device: str) -> None:
        """Raise `BadInput` if `device`, which keeps `kept` candidates, cannot offer enough.

        A greedy choice needs one, and the default of top-k may be more than a small device keeps.
        """
        if self.top_k > (max(kept, CANDIDATES) if self.greedy else kept):
            raise BadInput(f"top-k is {self.top_k}, but {device} reports only its {kept} best "
                           f"candidates: give {kept} or less.")

    def choose(self, candidates: Candidates) -> int:
        """Return the next token."""
        if self.greedy:
            return candidates.best
        best = candidates.scores[0]
        weights = [math.exp((score - best) / self.temperature)
                   for score in candidates.scores[:self.top_k]]
        sums = list(itertools.accumulate(weights))
        enough = self.top_p * sums[-1]
        last = next(index for index, total in enumerate(sums) if total >= enough)
        drawn = self._random.random() * sums[last]
        chosen = next(index for index, total in enumerate(sums) if total > drawn or index == last)
        return candidates.tokens[chosen]
