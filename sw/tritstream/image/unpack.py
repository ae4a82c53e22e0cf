"""An image read as if it were a checkpoint, so that the float reference runs on it.

Gains and embedding rows come back as the image has rounded them; trits and scales are exact.
"""

import functools

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS
from tritstream.image.banks import Banks
from tritstream.image.image import Image, Section
from tritstream.image.rows import read_rows
from tritstream.image.trits import decode
from tritstream.model.config import ModelConfig
from tritstream.model.weights import Weights

__all__ = ["ImageCheckpoint"]


class ImageCheckpoint(Weights):
    """A packed model with the methods of `tritstream.model.weights.Weights`.

    Parameters
    ----------
    image : Image
        The packed model.
    """

    def __init__(self, image: Image):
        self.image = image
        self.path = image.path
        self.config = ModelConfig(
            hidden=image.hidden, intermediate=image.intermediate, layers=image.layers,
            vocab=image.vocab, eps=image.meta["eps"],
            use_lower_bound=image.meta["use_lower_bound"], bos=image.start_token,
            eos=image.stop_tokens)

    def embedding_rows(self, start: int, stop: int) -> np.ndarray:
        """Embeddings of tokens `start` to `stop`, float32 [stop - start, H]."""
        q, mantissa, shift = read_rows(self.image, np.arange(start, stop))
        exponent = FORMATS.dequant_up - shift - self.image.meta["residual_fraction"]
        return (q * (mantissa * 2.0 ** exponent)).astype(np.float32)

    def lower_bounds(self) -> np.ndarray:
        """Lower bounds of the forget gates, float64 [L, H]."""
        keeps = [self._banks(section).keep for section in self.image.sections]
        return np.array([1 - keep / 65536 for keep in keeps if keep is not None])

    def gain(self, name: str) -> np.ndarray:
        """Gain of a norm, float32 [H] or [I]."""
        section = self._gains.get(name)
        if section is None:
            raise BadInput(f"{self.path} has no gain {name}; pack the checkpoint again.")
        banks = self._banks(section)
        names, fractions = section.meta["gains"], section.meta["gain_fractions"]
        stored = [*([banks.pre] if banks.pre is not None else []), *banks.gains]
        real = [values * 2.0 ** -fraction
                for values, fraction in zip(stored, fractions, strict=True)]
        index = names.index(name)
        if banks.pre is None or index == 0:
            return real[index].astype(np.float32)
        # Behind a first norm the image has the products of both gains.
        return np.divide(real[index], real[0], out=np.zeros_like(real[0]),
                         where=banks.pre != 0).astype(np.float32)

    def ternary(self, name: str) -> tuple[np.ndarray, float]:
        """Codes int8 [N, K] of a BitLinear and their scale."""
        for section in self.image.sections:
            parts = [index for index, matrix in enumerate(section.meta["matrices"])
                     if matrix[0] == name]
            if parts:
                codes = np.concatenate([self._codes(section, index) for index in parts])
                return codes, section.meta["matrices"][parts[0]][1]
        raise BadInput(f"{self.path} has no matrix {name}; pack the checkpoint again.")

    @functools.cached_property
    def _gains(self) -> dict[str, Section]:
        """Section that holds each gain."""
        return {name: section for section in self.image.sections
                for name in section.meta.get("gains", ())}

    def _banks(self, section: Section) -> Banks:
        return Banks.of(section, self.image.payload)

    def _codes(self, section: Section, index: int) -> np.ndarray:
        header = section.header
        trits = decode(section.codes(self.image.payload, index))
        return trits.swapaxes(0, 1).reshape(-1, header.columns)[:header.rows]
