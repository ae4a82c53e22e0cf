"""Bits per byte, perplexity and agreement with the float reference, over a text.

Every document starts afresh with the model's first token; the recurrent state then carries through
to its end, so that no window cuts the context. The first token predicts, and is not predicted.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tritstream.engines.score import score_logits
from tritstream.errors import BadInput
from tritstream.model.tokenizer import Tokenizer

__all__ = ["Evaluation", "LogitModel", "ScoringModel", "evaluate", "evaluate_tokens",
           "tokenised"]

CHUNK = 512                 # tokens per call of the model: bounds memory, and changes no result


class LogitModel(Protocol):
    """What can be evaluated: the float reference, the golden model, a device."""

    def new_state(self):
        """Return the state before any token."""

    def logits(self, tokens, state) -> np.ndarray:
        """Logits [T, V] after every token; `state` moves on with them."""


@runtime_checkable
class ScoringModel(Protocol):
    """A model that scores tokens where it computes, which spares the way of the logits."""

    def score(self, tokens, targets, state) -> tuple[float, np.ndarray]:
        """Return what `score_logits` makes of the logits; `state` moves on."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Parameters
    ----------
    tokens : int
        Tokens predicted.
    bytes : int or None
        Bytes of text that they make up; None if there was no text, but tokens.
    bits_per_byte : float or None
        Information that the model lacks about the text, per byte: comparable between tokenizers.
    perplexity : float
        Per token.
    top1_equal_float : float or None
        Share of the tokens after which the reference has the same favourite; None without one.
    """

    tokens: int
    bytes: int | None
    bits_per_byte: float | None
    perplexity: float
    top1_equal_float: float | None


def evaluate(model: LogitModel, tokenizer: Tokenizer, documents: Iterable[str], *,
             reference: LogitModel | None = None, max_tokens: int | None = None,
             progress: Callable[[int, int], None] | None = None) -> Evaluation:
    """Score a model on texts.

    Parameters
    ----------
    model : LogitModel
        What to score.
    tokenizer : Tokenizer
        The model's own.
    documents : iterable of str
        Independent texts; empty ones count nothing.
    reference : LogitModel, optional
        The float reference, to compare the favourites with.
    max_tokens : int, optional
        Stop after so many predicted tokens.
    progress : callable, optional
        Called with the tokens done and all tokens, at first and after every chunk.

    Raises
    ------
    BadInput
        There is nothing to predict.
    """
    return evaluate_tokens(model, *tokenised(tokenizer, documents, max_tokens),
                           reference=reference, progress=progress)


def evaluate_tokens(model: LogitModel, sequences: Sequence[np.ndarray], size: int | None, *,
                    reference: LogitModel | None = None,
                    progress: Callable[[int, int], None] | None = None) -> Evaluation:
    """Score a model on tokens.

    Parameters
    ----------
    model : LogitModel
        What to score.
    sequences : sequence of ndarray
        Independent texts as tokens, int64 [T]; the first of each is not predicted.
    size : int or None
        Bytes that the others make up; None if that is not known.
    reference, progress
        As of `evaluate`.

    Raises
    ------
    BadInput
        There is nothing to predict.
    """
    total = sum(len(tokens) - 1 for tokens in sequences)
    if total == 0 or size == 0:
        raise BadInput("There is no token to predict; give a longer text or a larger max_tokens.")
    nats, equal, done = 0.0, 0, 0
    if progress:
        progress(done, total)       # the first chunk alone may take minutes
    for tokens in sequences:
        state = model.new_state()
        reference_state = reference.new_state() if reference else None
        for start in range(0, len(tokens) - 1, CHUNK):
            inputs, targets = tokens[:-1][start:start + CHUNK], tokens[1:][start:start + CHUNK]
            if isinstance(model, ScoringModel):
                part, favourites = model.score(inputs, targets, state)
            else:
                part, favourites = score_logits(model.logits(inputs, state), targets)
            nats += part
            if reference:
                wanted = reference.logits(inputs, reference_state).argmax(axis=-1)
                equal += int((wanted == favourites).sum())
            done += len(targets)
            if progress:
                progress(done, total)
    return Evaluation(
        tokens=total, bytes=size,
        bits_per_byte=None if size is None else nats / math.log(2) / size,
        perplexity=_exp(nats / total),
        top1_equal_float=equal / total if reference else None,
    )


def tokenised(tokenizer: Tokenizer, documents: Iterable[str],
              max_tokens: int | None) -> tuple[list[np.ndarray], int]:
    """Tokens of the documents up to the limit, and the bytes that all but each first make up."""
    sequences, total_bytes, left = [], 0, math.inf if max_tokens is None else max_tokens
    for text in filter(None, documents):
        if left <= 0:
            break
        tokens, ends = tokenizer.encode_with_ends(text)
        last = int(min(len(tokens) - 1, left))
        sequences.append(tokens[:last + 1])
        total_bytes += int(ends[last] - ends[0])
        left -= last
    return sequences, total_bytes


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:       # a model that is surer of nonsense than a float can tell
        return math.inf
