"""`tritstream verify`: every stage of every token against the golden model."""

import dataclasses

from tritstream.analysis.verify import Verification, verify
from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import output, print_json, progress
from tritstream.cli.options import (
    Count,
    Device,
    Json,
    ModelName,
    Prompt,
    PromptFile,
    TokenList,
    check_count,
    open_device,
    open_model,
    read_prompt,
    result_of,
)
from tritstream.engines.state import digest_text
from tritstream.errors import BadInput, Mismatch

__all__ = ["verify_device"]


def verify_device(
    prompt: Prompt = None,
    file: PromptFile = None,
    tokens: TokenList = None,
    model: ModelName = DEFAULT_MODEL,
    count: Count = 16,
    device: Device = "sim",
    json: Json = False,
):
    """Compare every stage of every token with the golden model."""
    if device == "float":
        raise BadInput("The float reference has no integer stages to compare: give --device "
                       "golden, cuda, sim, tcp:HOST:PORT or serial:PORT.")
    check_count("-n", count)
    opened = open_model(model)
    _, numbers = read_prompt(opened, prompt, file, tokens)
    with open_device(device, opened) as loaded, progress("comparing") as show:
        result = verify(loaded.engine, opened.image, numbers, count, show)
    if json:
        print_json(result_of(opened, device, {"count": count}, _table(result)))
    elif result.equal:
        output().print(f"{device} equals golden: {result.stages} stages of {result.passes} tokens, "
                       f"digest {digest_text(result.digest)}")
    if not result.equal:
        raise Mismatch(result.difference.sentence())


def _table(result: Verification) -> dict:
    table = {"equal": result.equal, "tokens": list(result.tokens), "passes": result.passes,
             "stages": result.stages, "digest": digest_text(result.digest)}
    if result.difference:
        table["difference"] = dataclasses.asdict(result.difference)
    return table
