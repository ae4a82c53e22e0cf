"""`tritstream boards`: what is supported."""

from collections.abc import Mapping

from rich.table import Table

from tritstream.analysis.estimate import estimate
from tritstream.build import BuildConfig
from tritstream.catalog import bundled_models, resolve
from tritstream.cli.console import output, print_json, quantity, speed
from tritstream.cli.estimate import image_estimate
from tritstream.cli.gateware import all_targets, gateware
from tritstream.cli.options import JsonArray
from tritstream.formats import FORMATS, padded
from tritstream.image.image import Image
from tritstream.image.needs import Needs, Residence
from tritstream.image.tape import row_bytes
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS

__all__ = ["boards", "describe_board"]


def boards(json: JsonArray = False):
    """List the boards for which a bitstream can be built."""
    models = {name: resolve(name).image for name in bundled_models()}
    rows = [describe_board(target, models) for target in all_targets().values()]
    if json:
        print_json(rows)
        return
    for row in rows:
        output().print(_table(row))


def describe_board(target, models: Mapping[str, Image]) -> dict:
    """Return what is known of a `Target`, and of models and the published shapes on it."""
    with gateware():
        from tritstream_hw.build.report import committed_report
    config, report = target.config, committed_report(target.name)
    needs = {name: Needs.of(image) for name, image in models.items()} | {
        name: _needs_of(shape) for name, shape in PRESETS.items()}
    return {
        "name": target.name,
        "fpga": target.fpga,
        "luts": target.luts,
        "block_rams": target.block_rams,
        "memory": target.memory,
        "memory_bytes": config.memory_bytes,
        "memory_rate": target.memory_rate,
        "link": target.link,
        "toolchain": target.toolchain.name,
        "clock_hz": config.clock_hz,
        "P": config.beat_bytes,
        "V": config.vector_width,
        "max_hidden": config.max_hidden,
        "max_intermediate": config.max_intermediate,
        "max_state": config.max_state,
        "max_vocab": config.max_vocab,
        "evidence": target.evidence,
        "routed": None if report is None else {
            "build_id": report.build_id,
            "clocks": {clock.name: clock.reached_mhz for clock in report.clocks},
            "cells": {resource.name: [resource.used, resource.available]
                      for resource in report.resources}},
        "tokens_per_second": {name: _rate(image, target) for name, image in models.items()},
        "tokens_per_second_evidence": "estimated",
        "shapes": {name: _shape(PRESETS[name], needs[name], target) for name in PRESETS},
        "rows_from_host": [name for name, need in needs.items() if not need.lack(config)
                           and _residence(need, config) is Residence.TAPE],
    }


def _residence(needs: Needs, config: BuildConfig) -> Residence:
    return needs.residence(config.memory_bytes, config.lanes)


def _needs_of(shape: ModelConfig) -> Needs:
    """Return what an image of a published shape needs."""
    tape_and_row, row = estimate(shape, BuildConfig()).tape_bytes, padded(row_bytes(shape.hidden))
    return Needs(max_hidden=shape.hidden, max_intermediate=shape.intermediate,
                 max_state=shape.layers * shape.hidden, max_vocab=shape.vocab,
                 max_stages=4 * shape.layers + 2, token_bytes=tape_and_row, row_bytes=row,
                 memory_bytes=tape_and_row + (shape.vocab - 1) * row)


def _rate(image: Image, target) -> float | None:
    """Return tokens per second, None if the model does not fit, or nobody knows."""
    needs, config = Needs.of(image), target.config
    if needs.lack(config) or (
            target.stage_of and _residence(needs, config) is Residence.NOTHING):
        return None
    return round(image_estimate(image, config, memory_rate=target.memory_bytes_per_cycle,
                                stage_of=target.stage_of).tokens_per_second, 3)


def _shape(shape: ModelConfig, needs: Needs, target) -> float | str:
    """Return tokens per second of a published shape, or why it does not fit."""
    config = target.config
    if lack := needs.lack(config):
        return f"no: its {lack}"
    residence = _residence(needs, config)
    if residence is Residence.NOTHING:
        return f"no: it needs {quantity(needs.least_memory(config.lanes), 'B')} of memory"
    found = estimate(shape, config, memory_rate=target.memory_bytes_per_cycle,
                     stage_of=target.stage_of, rows_sent=residence is Residence.TAPE)
    return round(found.tokens_per_second, 3)


def _table(row: dict) -> Table:
    table = Table(show_header=False, box=None, title=row["name"], title_justify="left")
    on_board = quantity(row["memory_bytes"] * FORMATS.trits_per_byte, "weights")
    speeds = row["tokens_per_second"] | row["shapes"]
    for name, text in {
        "FPGA": row["fpga"],
        "LUT4, block RAMs": f"{row['luts']:,}, {row['block_rams']}",
        "memory": f"{row['memory']}: {on_board}",
        "link": row["link"],
        "toolchain": row["toolchain"],
        "clock": f"{row['clock_hz'] / 1e6:g} MHz ({row['evidence']})",
        **_routed(row["routed"]),
        "P, V": f"{row['P']} bytes of tape and {row['V']} elements per cycle",
        "largest model": f"hidden {row['max_hidden']}, intermediate {row['max_intermediate']}, "
                         f"vocabulary {row['max_vocab']}, layers x hidden {row['max_state']}",
        **{f"tok/s of {model}": "no: it is too large" if rate is None else rate
           if isinstance(rate, str) else f"{speed(rate)} ({row['tokens_per_second_evidence']})"
           + ", with embedding rows from the host" * (model in row["rows_from_host"])
           for model, rate in speeds.items()},
    }.items():
        table.add_row(name, text)
    return table


def _routed(routed: dict | None) -> dict[str, str]:
    if routed is None:
        return {}
    clocks = ", ".join(f"{name} {mhz:g} MHz" for name, mhz in routed["clocks"].items())
    cells = ", ".join(f"{used / available:.0%} of the {name.partition(' (')[0]}"
                      for name, (used, available) in routed["cells"].items())
    return {"reaches": f"{clocks} (routed)", "takes": f"{cells} (routed)"}
