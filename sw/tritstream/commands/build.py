"""`tritstream build`: a bitstream for a board."""

from typing import Annotated

import typer

from tritstream.commands.gateware import gateware
from tritstream.commands.options import Json

__all__ = ["build"]


def build(
    board: Annotated[str, typer.Argument(help="See `tritstream boards`.")],
    freq: Annotated[float | None, typer.Option(metavar="MHZ", help="System clock.")] = None,
    json: Json = False,
):
    """Synthesise, place and route a board's bitstream."""
    gateware("build")
