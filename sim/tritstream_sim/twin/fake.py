"""A model and an image that compute nothing sensible, for tests of the driver.

Every bit of what a pass is given goes into what it returns: a byte in the wrong place shows.
"""

import zlib

import numpy as np

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, UNIT
from tritstream.link.messages import Identity, StageRecord
from tritstream.link.protocol import Space
from tritstream.link.spaces import space_words
from tritstream_sim.twin.emulator import ModelResult

__all__ = ["FakeImage", "FakeModel"]


class FakeImage:
    """An image of random bytes with the public face of a packed model.

    Parameters
    ----------
    seed : int
        Of the bytes.
    vocab, layers, hidden, intermediate : int
        Shape of the model it claims to hold.
    tape_units : int
        Size of the tape; three quarters of it come before the head.
    stop_token : int or None
        Ends a run.
    """

    lead_units = 2
    row_units = 1
    rows_unit = 1

    def __init__(self, seed: int = 1, *, vocab: int = 32, layers: int = 2, hidden: int = 64,
                 intermediate: int = 128, tape_units: int = 40, stop_token: int | None = None):
        self.vocab = vocab
        self.layers = layers
        self.hidden = hidden
        self.intermediate = intermediate
        self.tape_units = tape_units
        self.body_units = 3 * tape_units // 4
        self.stages = 4 * layers + 2
        self.body_stages = self.stages - 1
        self.tape_unit = self.rows_unit + vocab * self.row_units
        self.stop_token = stop_token
        units = self.tape_unit + tape_units
        self.payload = np.random.default_rng(seed).bytes(units * UNIT)

    def row(self, token: int) -> bytes:
        """Return the embedding row of `token`."""
        start = (self.rows_unit + token * self.row_units) * UNIT
        return self.payload[start:start + self.row_units * UNIT]

    def tape(self, units: int) -> memoryview:
        """Return the first `units` of the tape."""
        start = self.tape_unit * UNIT
        return memoryview(self.payload)[start:start + units * UNIT]


class FakeModel:
    """Results that depend on all inputs and on the state, and are repeatable.

    Parameters
    ----------
    image : FakeImage
        Says how many stages make a head, and how many logits there are.
    config : BuildConfig
        Says how large state and vectors are.
    """

    def __init__(self, image: FakeImage, config: BuildConfig):
        self._image = image
        self._digest = 0
        self._slot_words = Identity.of(config).slot_words
        self.state = np.zeros(space_words(config)[Space.STATE], np.int32)
        self.vectors = np.zeros(config.vector_elements, np.int32)
        self.passes = 0

    def clear_digest(self) -> None:
        """Start the running digest anew."""
        self._digest = 0

    def run_pass(self, lead: bytes, row: bytes, tape: bytes, *, fresh: bool, stages: int,
                 slot: int = 0) -> ModelResult:
        """Return random numbers whose seed is all of the input."""
        self.passes += 1
        start = slot * self._slot_words
        state = self.state[start:start + self._image.layers * self._image.hidden]
        if fresh:
            state[:] = 0
            self._digest = 0
        crc = self._digest
        for piece in (lead, row, tape, state.tobytes()):
            crc = zlib.crc32(piece, crc)
        random = np.random.default_rng(crc)
        state[:] = random.integers(*FORMATS.state_range, len(state), endpoint=True)
        self.vectors[:] = random.integers(-(1 << 31), 1 << 31, len(self.vectors))
        digests = [int(value) for value in random.integers(0, 1 << 32, stages)]
        self._digest = digests[-1]
        records = [StageRecord(digest, 100 + stage, stage)
                   for stage, digest in enumerate(digests)]
        logits = None
        if stages == self._image.stages:
            logits = random.integers(-1000, 1000, self._image.vocab).astype(np.int32)
        return ModelResult(logits=logits, mantissa=40_000, shift=20, records=records)
