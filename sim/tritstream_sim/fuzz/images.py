"""Images with a right checksum whose parts are not what `pack` writes."""

import contextlib
import copy
import dataclasses
import pathlib
import random

import numpy as np

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.errors import BadInput, DeviceError
from tritstream.formats import UNIT
from tritstream.golden import GoldenModel, candidates, chain
from tritstream.image.image import Image, write_image
from tritstream.image.pack import pack
from tritstream.image.tape import HEADER_FIELDS
from tritstream.image.trits import VALID
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_sim.board import Board
from tritstream_sim.fuzz.values import mutated_json, odd_integer

__all__ = ["images"]

CONFIG = BuildConfig(
    beat_bytes=4, vector_width=4, candidates=5, max_hidden=64, max_intermediate=128, max_vocab=256,
    max_state=128, max_stages=16, memory_bytes=0)
"""The board that all cases share. The host streams the weights, so that no case leaves any."""

SHAPES = (ModelConfig(hidden=5, intermediate=7, layers=1, vocab=6),
          ModelConfig(hidden=3, intermediate=66, layers=2, vocab=4, eos=None))
TOKENS = 2                      # of a conversation
PATIENCE = 30.0                 # seconds in which a pass has to come to its end

_TRITS = np.flatnonzero(VALID).astype(np.uint8)


@dataclasses.dataclass
class Parts:
    """An image taken apart: what a mutation changes."""

    image: Image                # as `pack` wrote it
    meta: dict
    tokenizer: bytes | None
    payload: np.ndarray

    def section(self, rng: random.Random):
        """Choose a stage of the original."""
        return rng.choice(self.image.sections)


@contextlib.contextmanager
def images(directory: pathlib.Path, cache: pathlib.Path | None):
    """Yield a case: an image is refused when it is opened, or golden and RTL give one digest."""
    originals = [pack(DummyCheckpoint(shape, seed=seed), directory / f"{seed}.trit")
                 for seed, shape in enumerate(SHAPES)]
    path = directory / "case.trit"
    with Board(CONFIG, cache=cache) as board, \
            Device.open(board.uri, patience_seconds=PATIENCE) as device:
        def case(rng: random.Random) -> str:
            original = rng.choice(originals)
            parts = Parts(original, original.meta, b"{}", np.array(original.payload))
            for _ in range(rng.choice((1, 1, 2, 3))):
                rng.choice(MUTATIONS)(rng, parts)
            if rng.randrange(8) == 0:
                rng.choice(REARRANGEMENTS)(rng, parts)
            write_image(path, parts.meta, parts.tokenizer, [parts.payload.tobytes()])
            try:
                image = Image(path)
            except BadInput:
                return "refused when opened"
            tokens = [rng.randrange(image.vocab) for _ in range(TOKENS)]
            compare(device, image, tokens)
            return "the same on golden and RTL"

        yield case


def compare(device: Device, image: Image, tokens: list[int]) -> None:
    """Run tokens on both; they have to agree in every digest and candidate."""
    expected = list(golden_passes(image, tokens, CONFIG.candidates))
    device.load(image)
    try:
        found = [(result.digest, list(result.candidates))
                 for result in device.run(tokens, heads=True, fresh=True,
                                            candidates=True)]
    except DeviceError as error:
        raise AssertionError("an image that golden computes, the device refuses") from error
    assert found == expected, f"golden {expected}, device {found}"


def golden_passes(image: Image, tokens: list[int], count: int):
    """Yield digest and candidates after each token."""
    golden, digest = GoldenModel(image), 0
    state = golden.new_state()
    for token in tokens:
        vectors = []
        logits = golden.forward([[token]], state,
                                observe=lambda stage, vector, seen=vectors: seen.append(vector))
        for vector in vectors:
            digest = chain(vector[0, 0], digest)
        yield digest, candidates(logits.acc[0], count)


# Mutations in place.

def metadata(rng: random.Random, parts: Parts) -> None:
    """Change a place of the metadata."""
    parts.meta = mutated_json(rng, parts.meta)


def header_field(rng: random.Random, parts: Parts) -> None:
    """Change a field of a header."""
    section, field = parts.section(rng), rng.randrange(len(HEADER_FIELDS))
    start = section.start + sum(bits for _, bits, _ in HEADER_FIELDS[:field]) // 8
    size = HEADER_FIELDS[field][1] // 8
    place = parts.payload[start:start + size]
    number = int.from_bytes(place.tobytes(), "little")
    number = number + rng.choice((-1, 1)) if rng.randrange(2) else odd_integer(rng, 8 * size)
    place[:] = list((number % (1 << 8 * size)).to_bytes(size, "little"))


def any_byte(rng: random.Random, parts: Parts) -> None:
    """Change a byte anywhere."""
    parts.payload[rng.randrange(len(parts.payload))] = rng.randrange(256)


def trits(rng: random.Random, parts: Parts) -> None:
    """Replace the trits of some columns by others."""
    section = rng.choice(parts.image.sections[1:])
    body = parts.payload[section.body_start:section.end].reshape(-1, section.header.group_bytes)
    columns = body[:, :rng.randint(1, section.header.columns)]
    columns[:] = np.random.default_rng(rng.getrandbits(32)).choice(_TRITS, columns.shape)


def gains(rng: random.Random, parts: Parts) -> None:
    """Change some gains, by little or to the extremes."""
    section = rng.choice(parts.image.sections[:-1])
    banks = parts.payload[section.banks_start:section.body_start].view("<i2")
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(banks))
        banks[place] = rng.choice((banks[place] >> 1, 0, 1, -1, 32767, -32768))


def row(rng: random.Random, parts: Parts) -> None:
    """Change elements or the prefix of an embedding row."""
    size = parts.image.row_units * UNIT
    start = size * rng.randrange(parts.image.vocab)
    prefix = rng.randrange(4) == 0
    place = start + (rng.randrange(4) if prefix else rng.randrange(4 + parts.image.hidden))
    parts.payload[place] = odd_integer(rng, 8)


def scale(rng: random.Random, parts: Parts) -> None:
    """Make outputs smaller, which is allowed, or larger, which may not be.

    The metadata go with the header, where they are still such as `pack` wrote them.
    """
    section = rng.choice(parts.image.sections[1:])
    names = [matrix[0] for matrix in section.meta["matrices"]]
    chosen, change = rng.choice(names), rng.choice((-60, -9, -2, -1, -1, 0, 1, 2, 9))
    low = rng.randrange(256)
    parts.meta = copy.deepcopy(parts.meta)
    for index in (index for index, name in enumerate(names) if name == chosen):
        start = section.start + 16 + 4 * index      # magic to units are 16 bytes
        mantissa = parts.payload[start:start + 2].view("<u2")
        exponent = parts.payload[start + 2:start + 4].view("<i2")
        exponent[:] = np.clip(int(exponent[0]) + change, -32768, 32767)
        before = int(mantissa[0])
        parts.payload[start] = low
        with contextlib.suppress(LookupError, TypeError, ZeroDivisionError):
            parts.meta["stages"][section.index]["matrices"][index][1] *= (
                int(mantissa[0]) / before * 2.0 ** change)


# Mutations that move what is behind them.

def stages(rng: random.Random, parts: Parts) -> None:
    """Leave a stage out, or play one twice, in the payload, the metadata, or both."""
    section, where = parts.section(rng), rng.randrange(3)
    twice = rng.randrange(2)
    if where != 1:
        whole = parts.payload[section.start:section.end]
        kept = [parts.payload[:section.start], *([whole] * 2 * twice),
                parts.payload[section.end:]]
        parts.payload = np.concatenate(kept)
    if where != 0 and isinstance(parts.meta, dict) and isinstance(parts.meta.get("stages"), list):
        told = list(parts.meta["stages"])
        told[section.index:section.index + 1] *= 2 * twice
        parts.meta = parts.meta | {"stages": told}


def length(rng: random.Random, parts: Parts) -> None:
    """Cut the payload short, or add to it."""
    if rng.randrange(2):
        parts.payload = parts.payload[:rng.randrange(len(parts.payload))]
    else:
        parts.payload = np.concatenate([parts.payload, np.zeros(rng.choice((1, 4, 64)), np.uint8)])


MUTATIONS = (metadata, metadata, header_field, header_field, header_field, any_byte, trits, gains,
             row, scale)
REARRANGEMENTS = (stages, length)
