"""The best tokens of a pass, of which one becomes the next."""

import math
from typing import NamedTuple

__all__ = ["CANDIDATES", "Candidates"]

CANDIDATES = 16
"""Best logits that every device keeps unless it was built otherwise."""


class Candidates(NamedTuple):
    """Best tokens of a pass with their logits, best first, ties to the lower token.

    An accumulator of at most 32 bits times a scale with a mantissa of 16 bits is exact in float64.
    """

    tokens: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def log_probabilities(self) -> tuple[float, ...]:
        """Natural logarithms of their probabilities among themselves, as if there were no others.

        Those among all tokens are lower, each by as much.
        """
        peak = self.scores[0]
        total = peak + math.log(sum(math.exp(score - peak) for score in self.scores))
        return tuple(score - total for score in self.scores)

    @property
    def best(self) -> int:
        """The most likely token."""
        return self.tokens[0]

    @property
    def alone(self) -> "Candidates":
        """The most likely token without the others."""
        return Candidates(self.tokens[:1], self.scores[:1])
