"""`tritstream logits`: all logits of a list of tokens."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import output, print_json
from tritstream.cli.options import (
    Device,
    Json,
    ModelName,
    open_device,
    open_model,
    parse_tokens,
    result_of,
)
from tritstream.engines.state import digest_text
from tritstream.support.files import replacing

__all__ = ["logits"]


def logits(
    tokens: Annotated[str, typer.Option("--tokens", metavar="N,N,…", help="Token numbers.")],
    path: Annotated[Path, typer.Option("-o", "--output", metavar="FILE",
                                       help="NumPy file to write: float32 [tokens, vocabulary].")],
    model: ModelName = DEFAULT_MODEL,
    device: Device = "golden",
    json: Json = False,
):
    """Write all logits after each of some tokens to a NumPy file."""
    opened = open_model(model)
    numbers = parse_tokens(tokens, opened.config.vocab)
    with open_device(device, opened) as loaded, loaded.open() as conversation:
        values = conversation.logits(numbers)
        digest = digest_text(conversation.digest)
    with replacing(path) as aside, aside.open("wb") as file:
        np.save(file, values)
    if json:
        print_json(result_of(opened, device, {"tokens": numbers}, {
            "output": str(path), "shape": list(values.shape), "digest": digest}))
    else:
        output().print(f"{path}: float32 {list(values.shape)}"
                       f"{f', digest {digest}' if digest else ''}")
