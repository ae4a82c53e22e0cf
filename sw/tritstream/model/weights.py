"""What the packer and the float reference ask of a model, wherever its numbers are from."""

from pathlib import Path
from typing import Protocol

import numpy as np

from tritstream.model.config import ModelConfig

__all__ = ["Packable", "Weights"]


class Weights(Protocol):
    """A model tensor by tensor: a checkpoint, an image read as one, or a dummy.

    Names are those of the checkpoint's tensors without `.weight`, as in
    `gain("model.layers.0.attn.i_proj.norm")` and `ternary("lm_head")`.

    Attributes
    ----------
    config : ModelConfig
        Dimensions and constants.
    path : Path
        Where the model is from, for messages.
    """

    config: ModelConfig
    path: Path

    def embedding_rows(self, start: int, stop: int) -> np.ndarray:
        """Embeddings of tokens `start` to `stop`, float32 [stop - start, H]."""

    def lower_bounds(self) -> np.ndarray:
        """Lower bounds of the forget gates, float64 [L, H]; zeros if the model has none."""

    def gain(self, name: str) -> np.ndarray:
        """Gain of a norm, float32 [H] or [I]."""

    def ternary(self, name: str) -> tuple[np.ndarray, float]:
        """Codes -1, 0 or 1 as int8 [N, K] of a BitLinear, and their scale."""


class Packable(Weights, Protocol):
    """What can be packed: a checkpoint or a dummy.

    Attributes
    ----------
    tokenizer_path : Path
        Where its `tokenizer.json` is, if it has one; its settings and chat template are beside it.
    """

    tokenizer_path: Path
