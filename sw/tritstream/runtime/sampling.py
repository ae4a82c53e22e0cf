"""The choice of the next token among a device's best candidates.

Everything is float64 on numbers that every device reports exactly, and the random numbers are
Python's own, whose sequence is part of its contract: the same seed gives the same text on the
golden model, in simulation and on a board.
"""

import bisect
import collections
import itertools
import math
import random
from collections.abc import Iterable, Mapping

from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.errors import BadInput

__all__ = ["Sampler"]

MOST_BIAS = 100.0           # of a token; as many logits decide everything
MOST_PENALTY = 2.0


class Sampler:
    """Draws tokens; one sampler serves one text.

    Logits are biased, then penalised for what the text has already, then divided by the
    temperature; of the candidates that are best then, top-k, top-p and min-p say which take part.
    What the device does not report as a candidate cannot be drawn, whatever its bias.

    Parameters
    ----------
    temperature : float
        Divides the logits; 0 always takes the best candidate.
    top_k : int
        How many of the best candidates take part.
    top_p : float
        Of these, the fewest whose probabilities add up to at least this take part.
    min_p : float
        Of these, those whose probability is at least this share of the best one's take part.
    repetition_penalty : float
        Divides the logits of all tokens of prompt and text that are positive, and multiplies those
        that are negative; 1: none (arXiv 1909.05858).
    presence_penalty, frequency_penalty : float
        Subtracted from the logit of each token that the text behind the prompt has: once, and for
        each time that it has it; 0: none.
    logit_bias : mapping of int to float
        Added to the logits of tokens, -100 to 100.
    seed : int
        The same seed draws the same tokens.

    Raises
    ------
    BadInput
        A number is out of its range.
    """

    def __init__(self, *, temperature: float = 0.0, top_k: int = CANDIDATES, top_p: float = 1.0,
                 min_p: float = 0.0, repetition_penalty: float = 1.0, presence_penalty: float = 0.0,
                 frequency_penalty: float = 0.0, logit_bias: Mapping[int, float] | None = None,
                 seed: int = 0):
        if not 0 <= temperature < math.inf:
            raise BadInput(f"The temperature must be at least 0 and finite, not {temperature}.")
        if top_k < 1:
            raise BadInput(f"top-k must be at least 1, not {top_k}.")
        if not 0 < top_p <= 1:
            raise BadInput(f"top-p must be above 0 and at most 1, not {top_p}.")
        if not 0 <= min_p <= 1:
            raise BadInput(f"min-p must be 0 to 1, not {min_p}.")
        if not 0 < repetition_penalty < math.inf:
            raise BadInput("The repetition penalty must be above 0 and finite, not "
                           f"{repetition_penalty}.")
        for name, penalty in (("presence", presence_penalty), ("frequency", frequency_penalty)):
            if not abs(penalty) <= MOST_PENALTY:
                raise BadInput(f"The {name} penalty must be {-MOST_PENALTY:g} to {MOST_PENALTY:g}, "
                               f"not {penalty}.")
        for token, bias in (logit_bias or {}).items():
            if not abs(bias) <= MOST_BIAS:
                raise BadInput(f"The bias of token {token} must be {-MOST_BIAS:g} to "
                               f"{MOST_BIAS:g}, not {bias}.")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.min_p = min_p
        self.repetition_penalty = repetition_penalty
        self.presence_penalty = presence_penalty
        self.frequency_penalty = frequency_penalty
        self.logit_bias = dict(logit_bias or {})
        self._penalises = bool(repetition_penalty != 1 or presence_penalty or frequency_penalty)
        self._random = random.Random(seed)
        self._prompt: set[int] = set()
        self._text: collections.Counter[int] = collections.Counter()

    @property
    def greedy(self) -> bool:
        """Whether a device can go on by itself: its best candidate is always taken."""
        return self.temperature == 0 and not self.logit_bias and not self._penalises

    def check(self, kept: int, device: str) -> None:
        """Raise `BadInput` if `device`, which keeps `kept` candidates, cannot offer enough.

        A greedy choice needs one, and the default of top-k may be more than a small device keeps.
        """
        if self.top_k > (max(kept, CANDIDATES) if self.temperature == 0 else kept):
            raise BadInput(f"top-k is {self.top_k}, but {device} reports only its {kept} best "
                           f"candidates: give {kept} or less.")

    def begin(self, prompt: Iterable[int]) -> None:
        """Take note of what the text begins with."""
        self._prompt = set(prompt)
        self._text.clear()

    def choose(self, candidates: Candidates) -> int:
        """Return the next token, and take note of it."""
        tokens, scores = candidates.tokens, candidates.scores
        if self._penalises or not self.logit_bias.keys().isdisjoint(tokens):
            tokens, scores = self._adjusted(tokens, scores)
        token = tokens[0] if self.temperature == 0 else self._drawn(tokens, scores)
        if self._penalises:
            self._text[token] += 1
        return token

    def _adjusted(self, tokens, scores) -> tuple[list[int], list[float]]:
        """Biased and penalised logits, best first, ties to the lower token."""
        pairs = sorted((-self._score(token, score), token)
                       for token, score in zip(tokens, scores, strict=True))
        return [token for _, token in pairs], [-score for score, _ in pairs]

    def _score(self, token: int, score: float) -> float:
        score += self.logit_bias.get(token, 0.0)
        if token in self._prompt or token in self._text:
            penalty = self.repetition_penalty
            score = score * penalty if score < 0 else score / penalty
        count = self._text[token]
        return score - self.frequency_penalty * count - self.presence_penalty * (count > 0)

    def _drawn(self, tokens, scores) -> int:
        peak, temperature = scores[0], self.temperature
        weights = [math.exp((score - peak) / temperature) for score in scores[:self.top_k]]
        sums = list(itertools.accumulate(weights))
        last = bisect.bisect_left(sums, self.top_p * sums[-1])
        while weights[last] < self.min_p * weights[0]:
            last -= 1
        drawn = self._random.random() * sums[last]
        return tokens[min(bisect.bisect_right(sums, drawn), last)]
