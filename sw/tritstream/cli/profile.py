"""`tritstream profile`: where the cycles of a token go."""

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.analysis.profile import profile, trace
from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import output, print_json, quantity, speed
from tritstream.cli.options import (
    Device,
    Json,
    ModelName,
    Prompt,
    PromptFile,
    TokenList,
    open_device,
    open_model,
    read_prompt,
    result_of,
)
from tritstream.support.files import write_whole

__all__ = ["profile_token"]

PROMPT = "It was a dark night, and"


def profile_token(
    prompt: Prompt = None,
    file: PromptFile = None,
    tokens: TokenList = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = "sim",
    out: Annotated[Path | None, typer.Option(
        "-o", "--output", metavar="FILE", help="Write a trace for Perfetto or chrome://tracing, "
        "too.")] = None,
    json: Json = False,
):
    """Show where the cycles of a prompt's last token go, by stage."""
    opened = open_model(model)
    if prompt is file is tokens is None:
        prompt, tokens = (PROMPT, None) if opened.tokenizer_if_any else (None, "0")
    _, numbers = read_prompt(opened, prompt, file, tokens)
    with open_device(device, opened) as loaded:
        stages = profile(loaded.engine, opened.image, numbers)
        clock_hz, evidence = loaded.engine.clock_hz, loaded.engine.evidence
    if out is not None:
        write_whole(out, json_module.dumps(trace(stages, clock_hz, device)).encode())
    if json:
        print_json(result_of(opened, device, {}, {
            "clock_hz": clock_hz, "evidence": evidence,
            "stages": [dataclasses.asdict(stage) for stage in stages]}))
    else:
        _show(stages, clock_hz, evidence)


def _show(stages, clock_hz: int, evidence: str) -> None:
    table = Table(box=None)
    table.add_column("stage (all layers)")
    for name in ("weights", "cycles", "of all", "waiting", "weights per cycle"):
        table.add_column(name, justify="right")
    total = sum(stage.cycles for stage in stages)
    rows = {kind: [stage for stage in stages if kind_of(stage.name) == kind] for kind in KINDS}
    for name, group in [*((KINDS[kind], rows[kind]) for kind in KINDS), ("token", stages)]:
        weights, cycles, stalls = (sum(getattr(stage, field) for stage in group)
                                   for field in ("weights", "cycles", "stalls"))
        table.add_row(name, f"{weights:,}", f"{cycles:,}", f"{cycles / total:.1%}", f"{stalls:,}",
                      f"{weights / cycles:.1f}" if weights else "")
    output().print(table)
    output().print(f"{speed(clock_hz / total)} tok/s at {quantity(clock_hz, 'Hz')} ({evidence})")
