"""The golden model inside the emulated board: a device that must equal golden by construction.

With it, whatever the host program does with a board is tested without building one, and a fault
can be put into any stage.
"""

import numpy as np

from tritstream.build import BuildConfig
from tritstream.golden import GoldenModel, chain
from tritstream.image.image import Image
from tritstream.image.layout import lay_out
from tritstream.image.tape import Op
from tritstream.link.messages import Identity, StageRecord
from tritstream.link.protocol import Space
from tritstream.link.spaces import space_words
from tritstream_sim.twin.emulator import ModelResult

__all__ = ["GoldenBoard"]

CYCLES = 1000               # that every stage claims to take


class GoldenBoard:
    """What `Emulator` calls a model.

    Parameters
    ----------
    image : Image
        The only image that this board can compute.
    config : BuildConfig
        The build that it pretends to be.
    fault : callable or None
        Called as `fault(position, stage, vector)` with every vector, int64, and the number of
        passes since the state was fresh; what it returns takes the vector's place in digests,
        memory and logits, though not in what is computed from it.
    """

    def __init__(self, image: Image, config: BuildConfig, fault=None):
        self.state = np.zeros(space_words(config)[Space.STATE], np.int32)
        self._slot_words = Identity.of(config).slot_words
        self.vectors = np.zeros(config.vector_elements, np.int32)
        self._z_base = config.z_base
        self._image, self._laid = image, lay_out(image, config.stripes)
        self._golden = GoldenModel(image)
        self._fault = fault or (lambda position, stage, vector: vector)
        self._tokens = {self._laid.row(token): token for token in range(image.vocab)}
        self._digest = 0
        self._position = 0

    def clear_digest(self) -> None:
        """Start the running digest anew."""
        self._digest = 0

    def run_pass(self, lead: bytes, row: bytes, tape: bytes, *, fresh: bool, stages: int,
                 slot: int = 0) -> ModelResult:
        """Play one pass; the tape has to be the image's."""
        if stages > self._image.stages:
            raise ValueError(f"the tape has {self._image.stages} stages, not {stages}")
        whole = self._laid.tape(self._laid.units_before(stages)).tobytes()
        if lead + tape != whole or row not in self._tokens:
            raise ValueError("this is not the tape of the image")
        start = slot * self._slot_words
        mine = self.state[start:start + self._image.layers * self._image.hidden]
        if fresh:
            self.clear_digest()
            mine[:] = 0
            self._position = 0
        records = []

        def observe(stage, vector):
            seen = self._fault(self._position, stage, vector[0, 0])
            self._digest = chain(seen, self._digest)
            records.append(StageRecord(self._digest, CYCLES, CYCLES // 10))
            self._keep(stage, seen)

        state = mine.astype(np.int64).reshape(1, self._image.layers, -1)
        logits = self._golden.forward([[self._tokens[row]]], state, stages=stages, observe=observe)
        mine[:] = state.reshape(-1)
        self._position += 1
        if logits is None:
            return ModelResult(logits=None, records=records)
        return ModelResult(logits=self._logits, mantissa=int(logits.mantissa[0]),
                           shift=int(logits.shift[0]), records=records)

    def _keep(self, stage: int, vector: np.ndarray) -> None:
        op = self._image.sections[stage].header.op
        if op is Op.HEAD:
            self._logits = vector.astype(np.int32)
        else:
            base = self._z_base if op in (Op.MLGRU, Op.GLU) else 0
            self.vectors[base:base + len(vector)] = vector
