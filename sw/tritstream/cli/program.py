"""`tritstream program`: a bitstream onto a board, and a model into its flash memory."""

import hashlib
import json
import pathlib
from typing import Annotated

import typer

from tritstream.catalog import Model
from tritstream.cli.console import notes, output
from tritstream.cli.gateware import all_targets, find_target, gateware
from tritstream.cli.options import open_model
from tritstream.errors import BadInput
from tritstream.flash import stored
from tritstream.image.layout import lay_out
from tritstream.image.needs import Needs, Residence
from tritstream.support.cache import get_or_make
from tritstream.support.loader import run_loader
from tritstream.support.manifest import read_manifest

__all__ = ["program"]


def program(
    board: Annotated[str, typer.Argument(help="See `tritstream boards`.")],
    path: Annotated[pathlib.Path | None, typer.Option(
        "-i", "--input", metavar="DIRECTORY", help="What `tritstream build` wrote; default: "
        "build/BOARD.")] = None,
    model: Annotated[str | None, typer.Option(
        "-m", "--model", metavar="MODEL", help="Store this model in the flash memory: the board "
        "fills its memory with it whenever it starts. The bitstream is stored too if --flash says "
        "so.")] = None,
    flash: Annotated[bool, typer.Option(
        "--flash", help="Into the flash memory: the board starts with it from then on.")] = False,
    force: Annotated[bool, typer.Option(
        "--force", help="Although its timing was missed.")] = False,
):
    """Load a bitstream onto the board that is plugged in, or store a model in its flash memory."""
    target = find_target(board)
    path = path or pathlib.Path("build") / board
    bitstream = _checked(target, path, force) if flash or model is None else None
    if model is not None:
        _store(target, open_model(model))
    if bitstream is None:
        return
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


def _store(target, model: Model) -> None:
    """Bring a model into the flash memory of a board, whose memory it fits."""
    with gateware():
        from tritstream_hw.flash.reader import cycles_per_byte
    data = _stored(target, model)

    def make(path: pathlib.Path) -> None:
        path.write_bytes(data)

    def read(path: pathlib.Path) -> pathlib.Path:
        if path.read_bytes() != data:
            raise BadInput(f"{path} is not what was written there: remove it.")
        return path

    path = get_or_make("flash", f"{hashlib.sha256(data).hexdigest()[:16]}.bin", make, read=read)
    notes().print(f"storing {model.name}, {len(data):,} bytes, in the flash memory of "
                  f"{target.name}, from byte {target.flash.offset:,} on")
    run_loader(target.loader.split(), path, flash=True, offset=target.flash.offset)
    clock_hz = target.config.clock_hz
    seconds = len(data) * cycles_per_byte(clock_hz) / clock_hz
    output().print(f"{target.name} fills its memory with {model.name} in {seconds:.2g} s "
                   f"(estimated) whenever it starts; the flash memory holds {path}")


def _stored(target, model: Model) -> bytes:
    """Return what the flash memory is to hold; `BadInput` if it or the board cannot."""
    if target.flash is None:
        with_flash = [name for name, other in all_targets().items() if other.flash is not None]
        raise BadInput(f"{target.name} does not start from a flash memory: leave out --model, or "
                       f"use one of {', '.join(with_flash)}.")
    config, image = target.config, model.image
    needs = Needs.of(image, config.stripes)
    if lack := needs.lack(config):
        raise BadInput(f"{model.name} does not fit {target.name}: its {lack}; choose a smaller "
                       "model.")
    for what, room in (("memory", config.memory_bytes), ("flash memory", target.flash.most)):
        if needs.residence(room) is not Residence.WHOLE:
            raise BadInput(f"{model.name} has {needs.memory_bytes:,} bytes, and the {what} of "
                           f"{target.name} has room for {room:,}: choose a smaller model.")
    return stored(lay_out(image, config.stripes).payload, config.stripes)
