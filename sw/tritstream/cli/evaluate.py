"""`tritstream eval`: bits per byte of a text."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tritstream.analysis.evaluate import Evaluation, evaluate_tokens, tokenised
from tritstream.analysis.texts import read_documents
from tritstream.catalog import DEFAULT_MODEL, Model
from tritstream.cli.console import output, print_json, progress
from tritstream.cli.options import (
    Device,
    Json,
    ModelName,
    TokenList,
    check_count,
    open_device,
    open_model,
    parse_tokens,
    read_standard_input,
    result_of,
)
from tritstream.engines import Conversation, Engine
from tritstream.errors import BadInput

__all__ = ["evaluate_text", "score"]


def evaluate_text(
    text: Annotated[Path | None, typer.Option(
        "-f", "--file", "--text", metavar="FILE", help="Text, or JSON lines with a text each; "
        "either may be .xz; - for standard input.")] = None,
    tokens: TokenList = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = "golden",
    max_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens.")] = None,
    json: Json = False,
):
    """Score a model on a text, in bits per byte.

    Its favourites are compared with those of the float reference.
    """
    if (text is None) == (tokens is None):
        raise BadInput("Give one text to score: --text FILE or --tokens N,N,….")
    if max_tokens is not None:
        check_count("--max-tokens", max_tokens)
    documents = None
    if text is not None:
        documents = [read_standard_input()] if str(text) == "-" else read_documents(text)
    opened = open_model(model)
    if tokens is None:
        result = score(opened, device, documents, max_tokens=max_tokens)
    else:
        numbers = np.array(parse_tokens(tokens, opened.config.vocab))
        result = _score(opened, device, [numbers[:max_tokens and max_tokens + 1]], None)
    if json:
        settings = {"text": text and str(text), "max_tokens": max_tokens}
        print_json(result_of(opened, device, settings, dataclasses.asdict(result)))
        return
    bits, size = "", ""
    if result.bytes is not None:
        bits, size = f"{result.bits_per_byte:.5f} bits per byte, ", f", {result.bytes} bytes"
    output().print(
        f"{device}: {bits}perplexity {result.perplexity:.3f} per token, "
        f"{result.top1_equal_float:.2%} of the favourites are the float reference's "
        f"({result.tokens} tokens{size})")


def score(model: Model, device: str, documents: list[str], *, max_tokens: int | None = None
          ) -> Evaluation:
    """Score a model on texts, and compare its favourites with those of the float reference."""
    return _score(model, device, *tokenised(model.tokenizer, documents, max_tokens))


def _score(model: Model, device: str, sequences: list[np.ndarray], size: int | None) -> Evaluation:
    with open_device(device, model) as loaded, progress(f"scoring {model.name}") as show:
        engine = loaded.engine
        # The float reference agrees with itself, and need not be asked twice.
        itself = engine.name == "float"
        reference = None if itself else engine.reference(model.checkpoint)
        result = evaluate_tokens(_Conversations(engine), sequences, size, reference=reference,
                                 progress=show)
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
