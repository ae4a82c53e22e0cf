"""The golden model as a device."""

import numpy as np

from tritstream.engines.base import Engine, Pass
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.formats import FORMATS
from tritstream.golden import GoldenModel, Logits, candidates, chain
from tritstream.image.image import Image

__all__ = ["GoldenEngine"]

CHUNK = 256                 # tokens whose vectors the golden model shows together


class GoldenEngine(Engine):
    """`tritstream.golden` on this computer: the digests that hardware has to reach.

    Parameters
    ----------
    image : Image
        Packed model.
    """

    name = "golden"

    def __init__(self, image: Image):
        super().__init__()
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self._golden = GoldenModel(image)
        self._state = self._golden.new_state()
        self._digest = 0
        self._vectors = []          # of the latest chunk, int64 [T, N] by stage
        self._stages = []           # digests after each stage of the latest pass

    def _put(self, values) -> None:
        self._state[0] = 0 if values is None else values
        self._digest = 0

    def _go_on_from(self, digest: int) -> None:
        self._digest = digest

    def _values(self) -> np.ndarray:
        return self._state[0].astype(np.int32)

    def _feed(self, tokens) -> list[Pass]:
        return [Pass(None, digest) for digest, _ in self._play(tokens, head=False)]

    def _step(self, token: int) -> Pass:
        ((digest, logits),) = self._play([token], head=True)
        best = candidates(logits.acc[0], CANDIDATES)
        scale = int(logits.mantissa[0]) * 2.0 ** (FORMATS.dequant_up - int(logits.shift[0]))
        return Pass(Candidates(tuple(number for number, _ in best),
                               tuple(acc * scale for _, acc in best)), digest)

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = np.concatenate([logits.real() for _, logits in self._play(tokens, head=True)])
        return rows, self._digest

    def _stage_digests(self, tokens, head: bool) -> list[int]:
        self._replay(tokens, head)
        return self._stages

    def _stage_vector(self, tokens, stage: int) -> np.ndarray:
        self._replay(tokens, stage == self.image.body_stages)
        return self._vectors[stage][-1].astype(np.int32)

    def _replay(self, tokens, head: bool) -> None:
        self._feed(tokens[:-1])
        for _ in self._play(tokens[-1:], head):
            pass

    def _play(self, tokens, head: bool):
        """Yield digest and logits of every token; the vectors of a chunk are chained one by one."""
        stages = self.image.stages if head else self.image.body_stages
        for start in range(0, len(tokens), CHUNK):
            chunk = tokens[start:start + CHUNK]
            self._vectors = []
            logits = self._golden.forward(
                np.array([chunk]), self._state, stages=stages,
                observe=lambda stage, vector: self._vectors.append(vector[0].astype("<i4")))
            for index in range(len(chunk)):
                self._chain(index)
                yield self._digest, _one(logits, index) if head else None

    def _chain(self, index: int) -> None:
        self._stages = []
        for vectors in self._vectors:
            self._digest = chain(vectors[index], self._digest)
            self._stages.append(self._digest)


def _one(logits: Logits, index: int) -> Logits:
    rows = slice(index, index + 1)
    return Logits(logits.acc[rows], logits.mantissa[rows], logits.shift[rows])
