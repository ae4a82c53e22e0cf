"""Options that several verbs have, and what they open."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tritstream.analysis.texts import MARK, read_text
from tritstream.catalog import Model, bundled_models, resolve
from tritstream.cli.console import progress
from tritstream.engines import DEVICES
from tritstream.errors import BadInput
from tritstream.model.tokenizer import decode_utf8
from tritstream.runtime.language_model import LanguageModel
from tritstream.support.checks import no_such_token

__all__ = [
    "Count",
    "Device",
    "Json",
    "JsonArray",
    "ModelName",
    "Prompt",
    "PromptFile",
    "TokenList",
    "check_count",
    "open_device",
    "open_model",
    "parse_tokens",
    "read_prompt",
    "read_standard_input",
    "result_of",
]

MOST = 10 ** 9              # of what a user counts: more would never end
MOST_PROMPT = 1 << 28       # bytes of a text from standard input, which might have no end
DIGITS = 18                 # of a token; Python refuses to convert thousands

ModelName = Annotated[str, typer.Option(
    "-m", "--model", metavar="MODEL", help="Image, checkpoint directory, or a bundled model: "
    f"{', '.join(bundled_models()) or 'none'}.")]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help=f"One of {DEVICES}.")]
Prompt = Annotated[str | None, typer.Option(
    "-p", "--prompt", metavar="TEXT", help="Text to go on from.")]
PromptFile = Annotated[str | None, typer.Option(
    "-f", "--file", metavar="FILE", help="The same from a file, or - for standard input; one line "
    "break at its end does not count.")]
TokenList = Annotated[str | None, typer.Option(
    "--tokens", metavar="N,N,…", help="Token numbers instead of a text.")]
Count = Annotated[int, typer.Option("-n", "--count", metavar="N", help="Tokens to make.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonArray = Annotated[bool, typer.Option("--json", help="Print one JSON array.")]


def open_model(name: str) -> Model:
    """Find a model; packing it, if need be, shows its progress."""
    return resolve(name, progress)


@contextlib.contextmanager
def open_device(uri: str, model: Model) -> Iterator[LanguageModel]:
    """Open a model on a device, showing how far that is."""
    with progress(f"loading {model.name}") as show:
        opened = LanguageModel.load(model, uri, progress=show)
    with opened:
        yield opened


def read_prompt(model: Model, text: str | None, file: str | None,
                tokens: str | None) -> tuple[str, list[int]]:
    """Return a prompt as text, as far as there is one, and as tokens; it has one of three forms."""
    if sum(form is not None for form in (text, file, tokens)) != 1:
        raise BadInput("Give one prompt: -p TEXT, -f FILE or --tokens N,N,….")
    if tokens is not None:
        numbers = parse_tokens(tokens, model.config.vocab)
        tokenizer = model.tokenizer_if_any
        return tokenizer.decode(numbers) if tokenizer else "", numbers
    if file is not None:
        text = read_standard_input() if file == "-" else read_text(Path(file))
        text = text.removesuffix("\n").removesuffix("\r")
    return text, model.tokenizer.encode(text)


def read_standard_input() -> str:
    """Return the text of the standard input; a byte-order mark in front is not of the text."""
    data = sys.stdin.buffer.read(MOST_PROMPT + 1)
    if len(data) > MOST_PROMPT:
        raise BadInput(f"The standard input has more than the {MOST_PROMPT:,} bytes that a text "
                       "may have.")
    return decode_utf8(data, "The standard input").removeprefix(MARK)


def parse_tokens(text: str, vocab: int) -> list[int]:
    """Read a list of token numbers such as ``5,6,7``."""
    tokens = []
    for piece in text.split(","):
        digits = piece.strip()
        if not (digits.isascii() and digits.removeprefix("-").isdigit()):
            raise BadInput(f"--tokens has {digits[:40]!r} where a token number should be: write "
                           "numbers with commas between them, as in 5,6,7.")
        if len(digits) > DIGITS or not 0 <= int(digits) < vocab:
            shown = digits if len(digits) <= DIGITS else f"{digits[:DIGITS]}…"
            raise no_such_token(shown, vocab)
        tokens.append(int(digits))
    return tokens


def check_count(option: str, value: int, least: int = 1) -> None:
    """Raise `BadInput` if what an option counts is out of range."""
    if not least <= value <= MOST:
        raise BadInput(f"{option} must be {least} to {MOST:,}, not {value}.")


def result_of(model: Model, device: str, settings: dict, result: dict) -> dict:
    """Return a result for JSON, beside what it is of."""
    return {"model": model.name, "device": device, "settings": settings, **result}
