"""`tritstream eval`: bits per byte of a text."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tritstream.analysis.evaluate import Evaluation, evaluate
from tritstream.analysis.texts import read_documents
from tritstream.cli.console import output, print_json, progress
from tritstream.cli.options import Device, Json, ModelName, open_device, open_model
from tritstream.engines import Conversation, Engine
from tritstream.errors import BadInput
from tritstream.model.catalog import DEFAULT_MODEL, Model

__all__ = ["evaluate_text", "score"]


def evaluate_text(
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text, or JSON lines with a "
                                       "text each; either may be .xz.")],
    model: ModelName = DEFAULT_MODEL,
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
    result = score(open_model(model), device, documents, max_tokens=max_tokens)
    if json:
        print_json(dataclasses.asdict(result))
        return
    output().print(
        f"{device}: {result.bits_per_byte:.5f} bits per byte, perplexity {result.perplexity:.3f} "
        f"per token, {result.top1_equal_float:.2%} of the favourites are the float reference's "
        f"({result.tokens} tokens, {result.bytes} bytes)")


def score(model: Model, device: str, documents: list[str], *, max_tokens: int | None = None
          ) -> Evaluation:
    """Score a model on texts, and compare its favourites with those of the float reference."""
    tokenizer = model.tokenizer             # an image may lack it, which is no work for a device
    with open_device(device, model) as loaded, progress(f"scoring {model.name}") as show:
        engine = loaded.engine
        # The float reference agrees with itself, and need not be asked twice.
        itself = engine.name == "float"
        reference = None if itself else engine.reference(model.checkpoint)
        result = evaluate(_Conversations(engine), tokenizer, documents, max_tokens=max_tokens,
                          reference=reference, progress=show)
    return dataclasses.replace(result, top1_equal_float=1.0) if itself else result


class _Conversations:
    """An engine as `tritstream.analysis.evaluate` sees a model: a state is a conversation."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def new_state(self) -> Conversation:
        return self._engine.open()

    def logits(self, tokens, state: Conversation):
        return state.logits(tokens)

    def score(self, tokens, targets, state: Conversation):
        return state.score(tokens, targets)
