"""`tritstream pack`: a checkpoint, or a dummy of any shape, into an image."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tritstream.cli.console import notes, output, print_json, progress, quantity
from tritstream.cli.options import Json
from tritstream.errors import BadInput
from tritstream.formats import MOST_ROWS
from tritstream.image.image import Image
from tritstream.image.pack import pack as pack_checkpoint
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS, TOKENIZER_VOCAB, DummyCheckpoint, byte_tokenizer

__all__ = ["pack", "pack_with_progress"]

DIGITS = 18                 # of a number; Python refuses to convert thousands
BEGIN, END = 0, 1           # of the byte tokenizer


def pack(
    checkpoint: Annotated[Path | None, typer.Argument(
        metavar="[CHECKPOINT]", help="Directory with config.json and model.safetensors.")] = None,
    model: Annotated[Path | None, typer.Option("-m", "--model", metavar="CHECKPOINT",
                                               help="The same as an option.")] = None,
    path: Annotated[Path | None, typer.Option(
        "-o", "--output", metavar="IMAGE", help="File to write; default: NAME.trit here.")] = None,
    dummy: Annotated[str | None, typer.Option(
        metavar="SHAPE", help="Make a random model instead: "
        f"{', '.join(PRESETS)}, or HIDDEN,INTERMEDIATE,LAYERS,VOCABULARY.")] = None,
    outliers: Annotated[bool, typer.Option(
        "--outliers", help="Give a random model the outliers of a large trained one.")] = False,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of a random model.")] = 0,
    json: Json = False,
):
    """Pack a checkpoint into an image, 1.6 bits per weight."""
    sources = [source for source in (checkpoint, model, dummy) if source is not None]
    if len(sources) != 1:
        raise BadInput(f"pack takes one checkpoint directory or --dummy SHAPE, not {len(sources)} "
                       "of them.")
    if dummy is None and (outliers or seed):
        raise BadInput("--outliers and --seed belong to a random model: give --dummy SHAPE, or "
                       "leave them out.")
    if seed < 0:
        raise BadInput(f"--seed must be at least 0, not {seed}.")
    began = time.perf_counter()
    with _opened(sources[0], dummy, outliers, seed) as opened:
        target = path or Path(f"{opened.path.resolve().name}.trit")
        image = pack_with_progress(opened, target)
    seconds = time.perf_counter() - began
    size = target.stat().st_size
    if json:
        print_json({"output": str(target), "bytes": size, "digest": image.digest,
                    "tokenizer": image.tokenizer_json is not None, "seconds": seconds})
    else:
        output().print(f"{target}: {quantity(size, 'B')}, digest {image.digest[:16]}, packed in "
                       f"{seconds:.1f} s")
    if image.tokenizer_json is None:
        notes().print(f"{opened.path} has no tokenizer.json, so {target} has none: it takes "
                      "--tokens, and neither prompts nor texts.")


def pack_with_progress(checkpoint, path: Path) -> Image:
    """Pack a checkpoint, showing its tensors as they are done."""
    with progress(f"packing {path.name}") as show:
        return pack_checkpoint(checkpoint, path, progress=show)


@contextlib.contextmanager
def _opened(source, dummy: str | None, outliers: bool, seed: int) -> Iterator:
    if dummy is None:
        yield Checkpoint.open(source)
        return
    with tempfile.TemporaryDirectory() as directory:
        yield _Dummy(dummy, outliers, seed, Path(directory) / "tokenizer.json")


class _Dummy(DummyCheckpoint):
    """A dummy with a tokenizer, if its vocabulary holds one."""

    def __init__(self, shape: str, outliers: bool, seed: int, tokenizer: Path):
        super().__init__(_shape(shape), seed, outliers)
        self.path = Path(f"dummy-{shape.replace(',', '-')}-{seed}")
        self._tokenizer_path = tokenizer
        if self.config.vocab >= TOKENIZER_VOCAB:
            byte_tokenizer().save(str(tokenizer))

    @property
    def tokenizer_path(self) -> Path:
        return self._tokenizer_path


def _shape(text: str) -> ModelConfig:
    presets = {name.lower(): config for name, config in PRESETS.items()}
    if text.lower() in presets:
        return presets[text.lower()]
    numbers = text.split(",")
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise BadInput(f"--dummy {text[:80]!r} is no shape: give {', '.join(PRESETS)}, or four "
                       "numbers HIDDEN,INTERMEDIATE,LAYERS,VOCABULARY.")
    if any(len(n) > DIGITS or int(n) > MOST_ROWS for n in numbers):
        raise BadInput(f"--dummy {text[:80]!r} is too large: no number may exceed {MOST_ROWS}.")
    hidden, intermediate, layers, vocab = map(int, numbers)
    return ModelConfig(hidden=hidden, intermediate=intermediate, layers=layers, vocab=vocab,
                       bos=BEGIN, eos=END if vocab > END else None)
