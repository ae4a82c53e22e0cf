"""Checkpoint directories as broken downloads, hands and other programs leave them."""

import contextlib
import json
import os
import pathlib
import random
import shutil

import numpy as np

from tritstream.errors import BadInput
from tritstream.golden import GoldenModel
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import TOKENIZER_VOCAB, DummyCheckpoint
from tritstream.model.tokenizer import Tokenizer
from tritstream_sim.fuzz.values import mutated_json, odd_integer

__all__ = ["checkpoints"]

SHAPE = ModelConfig(hidden=5, intermediate=7, layers=1, vocab=TOKENIZER_VOCAB, bos=0, eos=1)
EXTRAS = {"generation_config.json": {"eos_token_id": [1, 0]},
          "tokenizer_config.json": {"add_bos_token": True, "bos_token": {"content": "<s>"}}}
TEXT = "some text, ∞ <s>"


@contextlib.contextmanager
def checkpoints(directory: pathlib.Path, cache: pathlib.Path | None):
    """Yield a case: a checkpoint is refused, or packed into an image that opens and computes."""
    originals = []
    for shards in (1, 2):
        originals.append(directory / f"{shards}")
        DummyCheckpoint(SHAPE, seed=shards).save(originals[-1], "F16", shards)
        for name, table in EXTRAS.items():
            (originals[-1] / name).write_text(json.dumps(table))
    place = directory / "case"

    def case(rng: random.Random) -> str:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(rng.choice(originals), place)
        for _ in range(rng.choice((1, 1, 2))):
            path = rng.choice(sorted(place.iterdir()))
            if path.is_file() and path.stat().st_size:
                rng.choice(_mutations(path))(rng, path)
        try:
            checkpoint = Checkpoint.open(place)
            packed = pack(checkpoint, directory / "case.trit").path
        except BadInput:
            return "refused"
        use(Image(packed), checkpoint)
        return "packed and used"

    yield case


def use(image: Image, checkpoint: Checkpoint) -> None:
    """Compute with a packed model, and encode with its tokenizer if it has one."""
    golden = GoldenModel(image)
    golden.forward([[0, image.vocab - 1]], golden.new_state())
    if image.tokenizer_json is None:
        return
    tokenizer = Tokenizer(image.tokenizer_json, vocab=image.vocab, bos=image.start_token, name="")
    tokens = tokenizer.encode(TEXT)
    tokenizer.encode_with_ends(TEXT)
    assert all(0 <= token < image.vocab for token in tokens)
    assert tokens == Tokenizer.open(checkpoint.tokenizer_path, checkpoint.config).encode(TEXT)


def _mutations(path: pathlib.Path) -> tuple:
    if path.suffix == ".json":
        return json_value, json_value, json_value, json_value, text, bytes_anywhere, another_kind
    return header, header, numbers, numbers, bytes_anywhere, another_kind


def json_value(rng: random.Random, path: pathlib.Path) -> None:
    """Change a place of a JSON file."""
    with contextlib.suppress(ValueError, RecursionError):       # broken already by another
        path.write_text(json.dumps(mutated_json(rng, json.loads(path.read_bytes()))))


def text(rng: random.Random, path: pathlib.Path) -> None:
    """Put something before a text that programs put there, or take its place."""
    before = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"[" * 100_000, b"\0", b"9" * 5000,
                         b"version https://git-lfs.github.com/spec/v1\n"))
    path.write_bytes(before + path.read_bytes())


def bytes_anywhere(rng: random.Random, path: pathlib.Path) -> None:
    """Change, cut or lengthen a file."""
    data = bytearray(path.read_bytes())
    kind = rng.randrange(3)
    if kind == 0:
        data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 1:
        del data[rng.randrange(len(data)):]
    else:
        data += bytes(rng.randint(1, 9))
    path.write_bytes(data)


def another_kind(rng: random.Random, path: pathlib.Path) -> None:
    """Make it what only looks like a file, or nothing."""
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        path.touch()


def header(rng: random.Random, path: pathlib.Path) -> None:
    """Change the header of a file of tensors, its length right or not."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    with contextlib.suppress(ValueError):
        changed = json.dumps(mutated_json(rng, json.loads(data[8:8 + length]))).encode()
        told = odd_integer(rng, 64) if rng.randrange(8) == 0 else len(changed)
        path.write_bytes(told.to_bytes(8, "little") + changed + data[8 + length:])


def numbers(rng: random.Random, path: pathlib.Path) -> None:
    """Change numbers of the tensors: to others, zeros, the largest, or none at all."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    values = data[start:start + (len(data) - start) // 2 * 2].view("<u2")
    if len(values):
        first = rng.randrange(len(values))
        values[first:first + rng.choice((1, 5, 40, len(values)))] = rng.choice(
            (0, 1, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00, rng.getrandbits(16)))
    path.write_bytes(data.tobytes())
