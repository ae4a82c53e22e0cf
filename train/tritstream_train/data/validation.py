"""Bits per byte of a text during training, by the rule of `tritstream.analysis.evaluate`."""

import math

import torch
from torch import nn
from torch.nn import functional

from tritstream.errors import BadInput
from tritstream.model.tokenizer import Tokenizer

__all__ = ["Validation"]

CHUNK = 8192                # tokens that a recurrent model reads at a time; no result depends on it


class Validation:
    """Texts that are held back, tokenised once.

    Every document starts afresh behind the model's first token. A recurrent model carries its state
    to the document's end. A model without state reads overlapping windows, and only the second half
    of each counts (but for the first), so that every token is predicted from at least half a
    window.

    Parameters
    ----------
    texts : list of str
        Documents.
    tokenizer : Tokenizer
        The model's own.
    window : int
        Tokens that a model without state was trained on.

    Raises
    ------
    BadInput
        There is nothing to predict.
    """

    def __init__(self, texts: list[str], tokenizer: Tokenizer, window: int):
        encoded = [tokenizer.encode_with_ends(text) for text in texts if text]
        self._documents = [torch.from_numpy(tokens) for tokens, _ in encoded]
        self.tokens = sum(len(tokens) - 1 for tokens in self._documents)
        self.bytes = sum(int(ends[-1] - ends[0]) for _, ends in encoded)
        if not self.bytes:
            raise BadInput("The validation text has nothing to predict: give a longer one.")
        self._window = window

    @torch.no_grad()
    def bits_per_byte(self, model: nn.Module, device: torch.device, *,
                      windowed: bool = False) -> float:
        """Information that the model lacks about the texts, per byte.

        With `windowed` a recurrent model reads the windows of one without state.
        """
        was_training = model.training
        model.eval()
        carries = hasattr(model, "new_state") and not windowed
        read = self._carried if carries else self._windowed
        nats = sum(float(read(model, tokens.to(device))) for tokens in self._documents)
        model.train(was_training)
        return nats / math.log(2) / self.bytes

    def _carried(self, model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        config = model.config
        state = torch.zeros(1, config.layers, config.hidden, device=tokens.device)
        total = torch.zeros((), dtype=torch.float64, device=tokens.device)
        for start in range(0, len(tokens) - 1, CHUNK):
            inputs, targets = tokens[:-1][start:start + CHUNK], tokens[1:][start:start + CHUNK]
            total += _nats(model(inputs[None], state=state)[0], targets)
        return total

    def _windowed(self, model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        half = max(1, self._window // 2)
        total = torch.zeros((), dtype=torch.float64, device=tokens.device)
        for start in range(0, len(tokens) - 1, half):
            begin = max(0, start - half)
            inputs, targets = tokens[:-1][begin:start + half], tokens[1:][start:start + half]
            total += _nats(model(inputs[None])[0, start - begin:], targets)
        return total


def _nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="sum").double()
