"""The float reference as a device."""

import numpy as np

from tritstream.engines.base import Engine, Pass
from tritstream.model.weights import Weights
from tritstream.reference import FloatModel
from tritstream.runtime.sampling import CANDIDATES, Candidates

__all__ = ["FloatEngine"]


class FloatEngine(Engine):
    """`tritstream.reference` on this computer.

    Parameters
    ----------
    checkpoint : Weights
        The model.
    """

    name = "float"
    digest = None

    def __init__(self, checkpoint: Weights):
        self._model = FloatModel(checkpoint)
        self.vocab = checkpoint.config.vocab
        self.stop_token = next(iter(checkpoint.config.stop_tokens), None)
        self.start()

    def start(self) -> None:
        self._state = self._model.new_state()

    def feed(self, tokens) -> list[Pass]:
        tokens = self._check(tokens)
        if tokens:
            self._model.logits(tokens, self._state)
        return [Pass(None, None)] * len(tokens)

    def step(self, token: int) -> Pass:
        scores = self._model.step(token, self._state)
        order = np.argsort(-scores, kind="stable")[:CANDIDATES]
        return Pass(Candidates(tuple(order.tolist()), tuple(scores[order].tolist())), None)

    def logits(self, tokens) -> np.ndarray:
        return self._model.logits(self._check(tokens), self._state).astype(np.float32)

    def save_state(self) -> np.ndarray:
        return self._state.copy()

    def restore_state(self, state: np.ndarray) -> None:
        self._state[:] = state
