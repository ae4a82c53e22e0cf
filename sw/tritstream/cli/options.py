"""Options that several verbs have, and what they open."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from tritstream.cli.console import progress
from tritstream.engines import DEVICES
from tritstream.errors import BadInput
from tritstream.model.catalog import Model, bundled_models, resolve
from tritstream.runtime.language_model import LanguageModel

__all__ = [
    "Device",
    "Json",
    "ModelName",
    "Prompt",
    "TokenList",
    "open_device",
    "open_model",
    "parse_tokens",
]

ModelName = Annotated[str, typer.Option(
    "-m", "--model", metavar="MODEL", help="Image, checkpoint directory, or a bundled model: "
    f"{', '.join(bundled_models()) or 'none'}.")]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help=f"One of {DEVICES}.")]
Prompt = Annotated[str, typer.Option("-p", "--prompt", metavar="TEXT", help="Text to go on from.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TokenList = Annotated[str, typer.Option("--tokens", metavar="N,N,…", help="Token numbers.")]


def open_model(name: str) -> Model:
    """Find a model; packing it, if need be, shows its progress."""
    return resolve(name)


@contextlib.contextmanager
def open_device(uri: str, model: Model) -> Iterator[LanguageModel]:
    """Open a model on a device, showing how far that is."""
    with progress(f"loading {model.name}") as show:
        opened = LanguageModel.load(model, uri, progress=show)
    with opened:
        yield opened


def parse_tokens(text: str, vocab: int) -> list[int]:
    """Read a list of token numbers such as ``5,6,7``."""
    tokens = []
    for piece in text.split(","):
        digits = piece.strip()
        if not (digits.isascii() and digits.removeprefix("-").isdigit()):
            raise BadInput(f"--tokens has {digits!r} where a token number should be: write numbers "
                           "with commas between them, as in 5,6,7.")
        tokens.append(int(digits))
    for token in tokens:
        if not 0 <= token < vocab:
            raise BadInput(f"Token {token} is out of range: this model has tokens 0 to "
                           f"{vocab - 1}.")
    return tokens
