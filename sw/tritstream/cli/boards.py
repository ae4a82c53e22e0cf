"""`tritstream boards`: what is supported."""

from rich.table import Table

from tritstream.build import BuildConfig
from tritstream.catalog import bundled_models, resolve
from tritstream.cli.console import output, print_json, quantity
from tritstream.cli.gateware import gateware
from tritstream.cli.options import JsonArray
from tritstream.formats import FORMATS
from tritstream.image.needs import Needs

__all__ = ["boards", "tokens_per_second"]

STAGE_CYCLES = 150          # of every stage, that its tape does not hide


def boards(json: JsonArray = False):
    """List the boards for which a bitstream can be built."""
    with gateware():
        from tritstream_hw.boards import TARGETS
    models = {name: resolve(name).image for name in bundled_models()}
    rows = [_row(target, models) for target in TARGETS.values()]
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
        "tokens_per_second": {name: round(tokens_per_second(config, image), 3)
                              for name, image in models.items()},
        "tokens_per_second_evidence": "estimated",
    }


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


def tokens_per_second(config: BuildConfig, image) -> float:
    """Return how fast an image is generated from: as its memory, or else the link, brings the tape.

    Beats of the tape and the latency of the stages are counted; waits of the datapath are not.
    """
    needs = Needs.of(image)
    cycles = needs.token_bytes / config.beat_bytes + STAGE_CYCLES * needs.max_stages
    seconds = cycles / config.clock_hz
    if not needs.resident(config.memory_bytes):
        seconds = max(seconds, needs.token_bytes / config.link_rate)
    return 1 / seconds
