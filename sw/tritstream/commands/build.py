"""`tritstream build`: a bitstream for a board."""

from pathlib import Path
from typing import Annotated

import typer

from tritstream.commands.gateware import find_target, gateware
from tritstream.commands.options import Json
from tritstream.console import notes, output
from tritstream.errors import BadInput

__all__ = ["build"]


def build(
    board: Annotated[str, typer.Argument(help="See `tritstream boards`.")],
    freq: Annotated[float | None, typer.Option(metavar="MHZ", help="System clock.")] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Placements that are tried, at most, "
                                       "until one meets timing.")] = 4,
    path: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIRECTORY",
                                              help="Default: build/BOARD.")] = None,
    json: Json = False,
):
    """Synthesise, place and route a board's bitstream; a timing miss is a failure."""
    if freq is not None and not 1 <= freq <= 1000:
        raise BadInput(f"--freq must be 1 to 1000 MHz, not {freq:g}.")
    if seeds < 1:
        raise BadInput(f"--seeds must be at least 1, not {seeds}.")
    target = find_target(board)
    if freq is not None:
        target = target.at(round(freq * 1e6))
    console = notes()
    report = gateware("build").build(target, path, seeds=range(1, seeds + 1),
                                     progress=console.print)
    out = output()
    if json:
        out.out(report.to_json(), end="")
        return
    for what, used, available, share in report.rows():
        out.print(f"{what:36}{used:>12}{available:>12}{share:>9}")
    out.print(f"{path or Path('build') / target.name}: build {report.build_id}, seed {report.seed}"
              f"{', made earlier' if report.cached else ''}  routed")
