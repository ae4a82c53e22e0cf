"""`tritstream program`: a bitstream onto a board."""

import json
import pathlib
from typing import Annotated

import typer

from tritstream.cli.console import notes, output
from tritstream.cli.gateware import find_target, gateware
from tritstream.errors import BadInput
from tritstream.support.loader import run_loader
from tritstream.support.manifest import read_manifest

__all__ = ["program"]


def program(
    board: Annotated[str, typer.Argument(help="See `tritstream boards`.")],
    path: Annotated[pathlib.Path | None, typer.Option(
        "-i", "--input", metavar="DIRECTORY", help="What `tritstream build` wrote; default: "
        "build/BOARD.")] = None,
    flash: Annotated[bool, typer.Option(
        "--flash", help="Into the flash memory: the board starts with it from then on.")] = False,
    force: Annotated[bool, typer.Option(
        "--force", help="Although its timing was missed.")] = False,
):
    """Load a bitstream onto the board that is plugged in."""
    target = find_target(board)
    path = path or pathlib.Path("build") / board
    bitstream = _checked(target, path, force)
    notes().print(f"loading {bitstream} {'into the flash memory ' * flash}of {board}")
    run_loader(target.loader.split(), bitstream, flash=flash)
    output().print(f"{board} holds {path}; to test it: tritstream selftest --device "
                   f"'serial:PORT?build={path}'")


def _checked(target, path: pathlib.Path, force: bool) -> pathlib.Path:
    """Return the bitstream of a directory, which is whole, the board's own, and met its timing."""
    with gateware():
        from tritstream_hw.build.plan import bitstream, sha256
        from tritstream_hw.build.report import Report, check_timing
    manifest = read_manifest(path)
    if manifest.get("board") != target.name:
        raise BadInput(f"{path} holds a bitstream of {manifest.get('board')}, not of "
                       f"{target.name}: name that board, or another directory with -i.")
    try:
        for name in (bitstream(target), "report.json"):
            if sha256(path / name) != manifest["artefacts"][name]:
                raise BadInput(f"{path / name} is not what was built there: build it again.")
        report = Report.from_json((path / "report.json").read_text())
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read ({error.strerror}): build it again with "
                       f"`tritstream build {target.name}`.") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path} does not hold a whole build ({type(error).__name__}: {error}): "
                       f"build it again with `tritstream build {target.name}`.") from error
    if not force:
        check_timing(report)
    return path / bitstream(target)
