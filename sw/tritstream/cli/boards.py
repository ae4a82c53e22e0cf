"""`tritstream boards`: what is supported."""

from rich.table import Table

from tritstream.catalog import bundled_models, resolve
from tritstream.cli.console import output, print_json, quantity
from tritstream.cli.estimate import image_estimate
from tritstream.cli.gateware import all_targets
from tritstream.cli.options import JsonArray
from tritstream.formats import FORMATS

__all__ = ["boards"]


def boards(json: JsonArray = False):
    """List the boards for which a bitstream can be built."""
    models = {name: resolve(name).image for name in bundled_models()}
    rows = [_row(target, models) for target in all_targets().values()]
    if json:
        print_json(rows)
        return
    for row in rows:
        output().print(_table(row))


def _row(target, models: dict) -> dict:
    config = target.config
    return {
        "name": target.name,
        "fpga": target.fpga,
        "luts": target.luts,
        "block_rams": target.block_rams,
        "memory": target.memory,
        "memory_bytes": config.memory_bytes,
        "link": target.link,
        "toolchain": target.toolchain,
        "clock_hz": config.clock_hz,
        "P": config.beat_bytes,
        "V": config.vector_width,
        "max_hidden": config.max_hidden,
        "max_intermediate": config.max_intermediate,
        "max_state": config.max_state,
        "max_vocab": config.max_vocab,
        "evidence": target.evidence,
        "tokens_per_second": {name: round(_rate(image, target), 3)
                              for name, image in models.items()},
        "tokens_per_second_evidence": "estimated",
    }


def _rate(image, target) -> float:
    return image_estimate(image, target.config,
                          memory_rate=target.memory_bytes_per_cycle).tokens_per_second


def _table(row: dict) -> Table:
    table = Table(show_header=False, box=None, title=row["name"], title_justify="left")
    on_board = quantity(row["memory_bytes"] * FORMATS.trits_per_byte, "weights")
    for name, text in {
        "FPGA": row["fpga"],
        "LUT4, block RAMs": f"{row['luts']:,}, {row['block_rams']}",
        "memory": f"{row['memory']}: {on_board}",
        "link": row["link"],
        "toolchain": row["toolchain"],
        "clock": f"{row['clock_hz'] / 1e6:g} MHz ({row['evidence']})",
        "P, V": f"{row['P']} bytes of tape and {row['V']} elements per cycle",
        "largest model": f"hidden {row['max_hidden']}, intermediate {row['max_intermediate']}, "
                         f"vocabulary {row['max_vocab']}, layers x hidden {row['max_state']}",
        **{f"tok/s of {model}": f"{rate:.3g} ({row['tokens_per_second_evidence']})"
           for model, rate in row["tokens_per_second"].items()},
    }.items():
        table.add_row(name, text)
    return table
