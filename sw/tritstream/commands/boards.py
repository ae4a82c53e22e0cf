"""`tritstream boards`: what is supported."""

from tritstream.commands.gateware import gateware
from tritstream.commands.options import Json

__all__ = ["boards"]


def boards(json: Json = False):
    """List the boards for which a bitstream can be built."""
    gateware("boards")
