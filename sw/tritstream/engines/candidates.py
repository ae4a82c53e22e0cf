"""The best tokens of a pass, of which one becomes the next."""

import dataclasses

__all__ = ["CANDIDATES", "Candidates"]

CANDIDATES = 16
"""Best logits that every device keeps unless it was built otherwise."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Best tokens of a pass with their logits, best first, ties to the lower token.

    An accumulator of at most 32 bits times a scale with a mantissa of 16 bits is exact in float64.
    """

    tokens: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> int:
        """The most likely token."""
        return self.tokens[0]
