"""`tritstream profile`: where the cycles of a token go."""

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tritstream.analysis.blocks import (
    ESTIMATED,
    BlockProfile,
    block_trace,
    limit,
    profile_blocks,
    total,
)
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
from tritstream.link.activity import BLOCKS
from tritstream.support.files import write_whole

__all__ = ["profile_token"]

MARK = "*"
PROMPT = "It was a dark night, and"


def profile_token(
    prompt: Prompt = None,
    file: PromptFile = None,
    tokens: TokenList = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = "sim",
    blocks: Annotated[bool, typer.Option(
        "--blocks", help="By block, too: as seen in the simulation, or estimated for a board that "
        "is not simulated here.")] = False,
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
        found = profile_blocks(loaded.engine, opened.image, numbers) if blocks else None
        stages = found.stages if found else profile(loaded.engine, opened.image, numbers)
        clock_hz, evidence = loaded.engine.clock_hz, loaded.engine.evidence
    if out is not None:
        table = (block_trace(found, clock_hz, device) if found
                 else trace(stages, clock_hz, device))
        write_whole(out, json_module.dumps(table).encode())
    if json:
        told = {"clock_hz": clock_hz, "evidence": evidence}
        if found:
            told["blocks_evidence"] = found.evidence
        print_json(result_of(opened, device, {}, told | {"stages": _stages(stages, found)}))
        return
    if found:
        _show_blocks(found)
    else:
        _show(stages)
    cycles = sum(stage.cycles for stage in stages)
    output().print(f"{speed(clock_hz / cycles)} tok/s at {quantity(clock_hz, 'Hz')} ({evidence})")


def _stages(stages, found: BlockProfile | None) -> list[dict]:
    """What is told of each stage."""
    told = [dataclasses.asdict(stage) for stage in stages]
    if found:
        for stage, busy in zip(told, found.busy, strict=True):
            stage |= {"busy": busy, "limit": limit(busy)}
    return told


def _show(stages) -> None:
    table = Table(box=None)
    table.add_column("stage (all layers)")
    for name in ("weights", "cycles", "of all", "waiting", "weights per cycle"):
        table.add_column(name, justify="right")
    total = sum(stage.cycles for stage in stages)
    for name, group in [*((KINDS[kind], rows) for kind, rows in _by_kind(stages).items()),
                        ("token", stages)]:
        weights, cycles, stalls = (sum(getattr(stage, field) for stage in group)
                                   for field in ("weights", "cycles", "stalls"))
        table.add_row(name, f"{weights:,}", f"{cycles:,}", f"{cycles / total:.1%}", f"{stalls:,}",
                      f"{weights / cycles:.1f}" if weights else "")
    output().print(table)


def _by_kind(stages) -> dict[str, list]:
    """Stages of each kind, in the order of the tape."""
    return {kind: [stage for stage in stages if kind_of(stage.name) == kind] for kind in KINDS}


def _show_blocks(found: BlockProfile) -> None:
    """A column for each kind of stage, a row for each block; what limits a column has a mark."""
    table = Table(box=None)
    table.add_column("busy cycles (all layers)")
    busy = dict(zip((stage.name for stage in found.stages), found.busy, strict=True))
    columns = []
    for name, group in [*_by_kind(found.stages).items(), ("token", found.stages)]:
        table.add_column(name, justify="right")
        columns.append((group, total([busy[stage.name] for stage in group])))
    table.add_row("cycles of the stage", *(
        f"{sum(stage.cycles for stage in group):,} " for group, _ in columns), end_section=True)
    for block in BLOCKS:
        table.add_row(block, *(
            f"{spent[block]:,}{MARK if block == limit(spent) else ' '}"
            for _, spent in columns))
    output().print(table)
    counted = ", but for those of waiting, which are counted" if found.evidence == ESTIMATED else ""
    output().print(f"{MARK} the busiest, which limits the stage; tape and core count together. "
                   "Blocks work side by side: their cycles do not add up. They are "
                   f"{found.evidence}{counted}.")
