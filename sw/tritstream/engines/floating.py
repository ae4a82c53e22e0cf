"""The float reference as a device."""

import functools

import numpy as np

from tritstream.engines.base import Engine, Pass
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.engines.state import FLOATS
from tritstream.model.weights import Weights
from tritstream.reference import FloatModel

__all__ = ["FloatEngine"]


class FloatEngine(Engine):
    """`tritstream.reference` on this computer.

    Parameters
    ----------
    checkpoint : Weights
        The model.
    """

    name = "float"
    kind = FLOATS

    def __init__(self, checkpoint: Weights):
        super().__init__()
        self._model = FloatModel(checkpoint)
        self.shape = checkpoint.config.layers, checkpoint.config.hidden
        self.vocab = checkpoint.config.vocab
        self.stop_tokens = checkpoint.config.stop_tokens
        self._state = self._model.new_state()

    @functools.cached_property
    def model(self) -> str:
        """Digest of the numbers that it computes with: those of an image are rounded."""
        return self._model.digest()

    def _put(self, values) -> None:
        self._state[:] = 0 if values is None else values

    def _go_on_from(self, digest: None) -> None:
        return

    def _values(self) -> np.ndarray:
        return self._state.copy()

    def _feed(self, tokens) -> list[Pass]:
        self._model.logits(tokens, self._state)
        return [Pass(None, None)] * len(tokens)

    def _step(self, token: int) -> Pass:
        scores = self._model.step(token, self._state)
        order = np.argsort(-scores, kind="stable")[:CANDIDATES]
        return Pass(Candidates(tuple(order.tolist()), tuple(scores[order].tolist())), None)

    def _logits(self, tokens) -> tuple[np.ndarray, None]:
        return self._model.logits(tokens, self._state).astype(np.float32), None
