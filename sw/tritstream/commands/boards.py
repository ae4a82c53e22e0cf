"""`tritstream boards`: what is supported."""

from rich.table import Table

from tritstream.commands.gateware import gateware
from tritstream.commands.options import Json
from tritstream.console import output, print_json

__all__ = ["boards"]

COLUMNS = ("name", "fpga", "luts", "block_rams", "memory", "link", "toolchain", "clock_hz",
           "evidence")


def boards(json: Json = False):
    """List the boards for which a bitstream can be built."""
    rows = []
    for target in gateware("boards").TARGETS.values():
        row = {name: getattr(target, name) for name in COLUMNS if name != "clock_hz"}
        rows.append(row | {"clock_hz": target.config.clock_hz})
    if json:
        print_json(rows)
        return
    grid = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        grid.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        grid.add_row(*(str(row[name]) for name in COLUMNS))
    output().print(grid)
