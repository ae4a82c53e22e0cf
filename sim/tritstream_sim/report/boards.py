"""The page of all boards, from the targets, the reports that were committed, and the estimates.

``python -m tritstream_sim.report.boards [--write DIRECTORY]`` prints the page, or writes it to a
source checkout: ``docs/boards.md`` with its picture, and the table of the README. What was
simulated up to the pads is in ``docs/data/boards.json``, from `tritstream_sim.report.board`.
"""

import argparse
import json
import pathlib
from collections.abc import Mapping

from tritstream.analysis.roofline import draw_roofline
from tritstream.catalog import resolve
from tritstream.cli.boards import describe_board
from tritstream.cli.console import quantity
from tritstream.cli.estimate import image_estimate
from tritstream.errors import TritstreamError
from tritstream.formats import FORMATS
from tritstream.image.image import Image
from tritstream.support.files import write_whole
from tritstream_hw.boards import TARGETS, Target
from tritstream_sim.report.marked import write_between

__all__ = ["DATA", "main", "models", "overview", "page"]

MODELS = ("tiny", "demo", "story-30m")
FIRST = "ulx3s_85f"         # the board of the picture
DATA = "docs/data/boards.json"
MARKS = "<!-- boards: written by `make boards` -->", "<!-- end of boards -->"


def models() -> dict[str, Image]:
    """Return the models whose speed is told."""
    return {name: resolve(name).image for name in MODELS}


def page(rows: list[dict], simulated: Mapping) -> str:
    """Return ``docs/boards.md``."""
    parts = [
        "# Boards",
        "Written by `make boards`. What a board reaches and takes is `routed`, from the report of "
        "its bitstream in [bitstreams/](../bitstreams), and of the revision "
        "that its manifest names: what has changed since then may reach less;\n"
        "speeds are `estimated` where nothing else is said. No board has been connected yet: "
        "[bringup.md](bringup.md) says what to plug and type, and\n"
        "[adding-a-board.md](adding-a-board.md) how another board is added.",
        _boards(rows), "## What the bitstreams take", _cells(rows),
        "## Models on boards",
        "Tokens per second; the shapes are those of the published models. Where a memory has room "
        "for all but the embedding (*), rows of it come from the host as they are needed, and the "
        "time of the link for one is counted for each token.", _speeds(rows)]
    if simulated:
        parts += ["Simulated up to the pads, by `make board`:", _simulated(simulated)]
    parts += [f"## Roofline of `{FIRST}`", "![Roofline](images/roofline.svg)"]
    return "\n\n".join(parts) + "\n"


def overview(rows: list[dict], simulated: Mapping) -> str:
    """Return the table of the README."""
    table = []
    for row in rows:
        found = simulated.get(row["name"], {}).get("demo")
        speed = row["tokens_per_second"]["demo"]
        table.append([
            f"`{row['name']}`", row["fpga"], _memory(row), f"{row['clock_hz'] / 1e6:.4g}",
            _reached(row), _speed(speed),
            f"{found['tokens_per_second']:.4g}" if found else ""])
    return _table(["board", "FPGA", "memory", "clock, MHz", "reached (routed)",
                   "tok/s of demo (estimated)", "simulated to the pads"], "lll" + "r" * 4, table)


def _boards(rows) -> str:
    table = [[f"`{row['name']}`", row["fpga"], _memory(row), row["link"],
              f"P={row['P']}, V={row['V']}", f"{row['clock_hz'] / 1e6:.4g}", _reached(row),
              f"{quantity(row['memory_bytes'] * FORMATS.trits_per_byte)} weights, hidden "
              f"{row['max_hidden']}, layers x hidden {row['max_state']}", row["evidence"]]
             for row in rows]
    return _table(["board", "FPGA", "memory", "link", "build", "clock, MHz", "reached, MHz",
                   "largest model", "evidence"], "lllllrrll", table)


def _memory(row) -> str:
    rate = row["memory_rate"]
    return row["memory"] + (f", {rate / 1e6:.4g} MB/s" if rate else "")


def _reached(row) -> str:
    routed = row["routed"]
    return f"{routed['clocks']['clk']:.4g}" if routed else "not routed"


def _cells(rows) -> str:
    tables = {}                         # one for each kind of FPGA
    for row in rows:
        if row["routed"]:
            cells = row["routed"]["cells"]
            tables.setdefault(tuple(cells), []).append([
                f"[`{row['name']}`](../bitstreams/{row['name']}/summary.md)", *(
                    f"{used:,} ({used / available:.0%})" for used, available in cells.values())])
    return "\n\n".join(_table(["board", *names], "l" + "r" * len(names), table)
                       for names, table in tables.items())


def _speeds(rows) -> str:
    names = [*rows[0]["tokens_per_second"], *rows[0]["shapes"]]
    table = []
    for row in rows:
        speeds = row["tokens_per_second"] | row["shapes"]
        table.append([f"`{row['name']}`", *(
            _speed(speeds[name]) + "*" * (name in row["rows_from_host"]) for name in names)])
    return _table(["board", *names], "l" + "r" * len(names), table)


def _speed(speed: float | str | None) -> str:
    if speed is None:
        return "no: it is too large"
    return speed if isinstance(speed, str) else f"{speed:{',.0f' if speed >= 100 else '.3g'}}"


def _simulated(simulated: Mapping) -> str:
    table = [[f"`{board}`", model, f"{found['cycles']:,}", f"{found['tokens_per_second']:,.4g}",
              f"{found['tape_rate'] / 1e6:.4g}"]
             for board, of in simulated.items() for model, found in of.items()]
    return _table(["board", "model", "cycles of a token", "tok/s", "MB/s of tape"], "llrrr", table)


def _table(names, align: str, rows) -> str:
    rule = [{"l": "---", "r": "---:"}[letter] for letter in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [names, rule, *rows])


def _draw(target: Target, images: Mapping[str, Image], path: pathlib.Path) -> None:
    found = {name: image_estimate(image, target.config, memory_rate=target.memory_bytes_per_cycle)
             for name, image in images.items()}
    draw_roofline(found, f"{target.name}, {target.config.clock_hz / 1e6:.4g} MHz (estimated)", path)


def main(argv=None) -> None:
    """Print the page, or put everything where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.boards",
                                     description=__doc__)
    parser.add_argument("--write", type=pathlib.Path, metavar="DIRECTORY",
                        help="a source checkout, whose documents are written")
    options = parser.parse_args(argv)
    try:
        images = models()
        rows = [describe_board(target, images) for target in TARGETS.values()]
        root = options.write or pathlib.Path(".")
        simulated = json.loads((root / DATA).read_text()) if (root / DATA).exists() else {}
        text = page(rows, simulated)
        if options.write is None:
            print(text, end="")
            return
        write_whole(root / "docs/boards.md", text.encode())
        write_between(root / "README.md", MARKS, overview(rows, simulated))
        _draw(TARGETS[FIRST], images, root / "docs/images/roofline.svg")
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    main()
