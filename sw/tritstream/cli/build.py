"""`tritstream build`: a bitstream for a board."""

import contextlib
import pathlib
import shutil
import time
from typing import Annotated

import typer
from rich.table import Table

from tritstream.cli.console import notes, output
from tritstream.cli.gateware import find_target, gateware
from tritstream.cli.options import Json, check_count
from tritstream.errors import BadInput

__all__ = ["build"]

STYLES = {"PASS": "green", "FAIL": "bold red"}


def build(
    board: Annotated[str, typer.Argument(help="See `tritstream boards`.")],
    config: Annotated[str | None, typer.Option(
        "--build", metavar="p=P,v=V,e=E,state=N,memory=N", help="Another build than the board's: "
        "bytes per beat, elements and rows per cycle, elements of recurrent state, bytes of block "
        "RAM for the weights, all or some; 24k is 24 x 1024.")] = None,
    freq: Annotated[float | None, typer.Option(metavar="MHZ", help="System clock.")] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Placements that are tried, at most, "
                                       "until one meets timing.")] = 4,
    jobs: Annotated[int, typer.Option(metavar="N", help="Placements at a time.")] = 2,
    path: Annotated[pathlib.Path | None, typer.Option(
        "-o", "--output", metavar="DIRECTORY", help="Default: build/BOARD.")] = None,
    reports: Annotated[pathlib.Path | None, typer.Option(
        metavar="DIRECTORY", help="Copy report, manifest and summary to DIRECTORY/BOARD.")] = None,
    json: Json = False,
):
    """Synthesise, place and route a board's bitstream.

    A timing miss is a failure.
    """
    if freq is not None and not 1 <= freq <= 1000:
        raise BadInput(f"--freq must be 1 to 1000 MHz, not {freq:g}.")
    check_count("--seeds", seeds)
    check_count("--jobs", jobs)
    target = find_target(board)
    if config is not None:
        target = target.built(config)
    if freq is not None:
        target = target.at(round(freq * 1e6))
    path = path or pathlib.Path("build") / board
    if reports is not None:
        with _writing(reports):         # before the build, which takes minutes
            (reports / board).mkdir(parents=True, exist_ok=True)
    console, began = notes(), time.monotonic()

    def progress(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {text}")

    with gateware():
        from tritstream_hw.build import plan
    report = plan.build(target, path, seeds=range(1, seeds + 1), jobs=jobs, progress=progress)
    if report.cached:
        progress(f"cached: {path} holds this build already")
    if reports is not None:
        with _writing(reports):
            for name in plan.REPORTS:
                shutil.copy(path / name, reports / board / name)
    if json:
        output().out(report.to_json(), end="")
    else:
        _show(report, path, plan.bitstream(target))


@contextlib.contextmanager
def _writing(reports: pathlib.Path):
    try:
        yield
    except OSError as error:
        raise BadInput(f"The reports cannot be written to {reports} ({error.strerror}): name "
                       "another directory with --reports.") from error


def _show(report, path: pathlib.Path, bitstream: str) -> None:
    """Print the summary, and what to do next."""
    table = Table("", "used, reached", "available, asked", "", title=report.board)
    for *cells, verdict in report.rows():
        table.add_row(*cells, verdict, style=STYLES.get(verdict))
    console = output()
    console.print(table)
    console.print(f"{path / bitstream}: build {report.build_id}, seed {report.seed}, routed")
    console.print(f"to load it: tritstream program {report.board} -i {path}; to run a model then: "
                  f"tritstream generate --device 'serial:PORT?build={path}'", soft_wrap=True)
