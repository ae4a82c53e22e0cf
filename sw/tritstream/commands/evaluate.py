"""`tritstream eval`: bits per byte of a text."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tritstream.commands.options import Device, Json, ModelName, open_device, open_model
from tritstream.console import output, print_json, progress
from tritstream.engines import Engine
from tritstream.errors import BadInput
from tritstream.evaluate import evaluate, read_documents

__all__ = ["evaluate_text"]


def evaluate_text(
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text, or JSON lines with a "
                                       "text each; either may be .xz.")],
    model: ModelName = "classics-7m",
    device: Device = "golden",
    max_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens.")] = None,
    json: Json = False,
):
    """Score a model on a text, in bits per byte.

    Its favourites are compared with those of the float reference.
    """
    if max_tokens is not None and max_tokens < 1:
        raise BadInput(f"--max-tokens must be at least 1, not {max_tokens}.")
    documents = read_documents(text)
    opened = open_model(model)
    tokenizer = opened.tokenizer
    with open_device(device, opened) as (engine, _), progress(f"reading {text.name}") as show:
        # The float reference agrees with itself, and need not be asked twice.
        itself = engine.name == "float"
        reference = None if itself else engine.reference(opened.checkpoint)
        result = evaluate(_Conversation(engine), tokenizer, documents, max_tokens=max_tokens,
                          reference=reference, progress=show)
    if itself:
        result = dataclasses.replace(result, top1_equal_float=1.0)
    if json:
        print_json(dataclasses.asdict(result))
        return
    output().print(
        f"{device}: {result.bits_per_byte:.5f} bits per byte, perplexity {result.perplexity:.3f} "
        f"per token, {result.top1_equal_float:.2%} of the favourites are the float reference's "
        f"({result.tokens} tokens, {result.bytes} bytes)")


class _Conversation:
    """An engine as `tritstream.evaluate` sees a model: the state is in the engine."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def new_state(self) -> None:
        self._engine.start()

    def logits(self, tokens, state):
        return self._engine.logits(tokens)

    def score(self, tokens, targets, state):
        return self._engine.score(tokens, targets)
