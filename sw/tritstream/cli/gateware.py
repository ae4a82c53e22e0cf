"""The gateware package, which a host with a board does not need."""

import difflib
import importlib
from types import ModuleType

from tritstream.errors import BadInput, MissingTool

__all__ = ["find_target", "gateware"]


def gateware(name: str) -> ModuleType:
    """Import a module of `tritstream_hw`; `MissingTool` says how to install what is absent."""
    try:
        return importlib.import_module(f"tritstream_hw.{name}")
    except ImportError as error:
        raise MissingTool(f"The gateware is not installed ({error}): run "
                          "pip install 'tritstream[hw]'.") from error


def find_target(board: str):
    """Return the `Target` of a board; `BadInput` has the closest name and all of them."""
    targets = gateware("boards").TARGETS
    if board in targets:
        return targets[board]
    close = difflib.get_close_matches(board, targets, 1, cutoff=0)[0]
    raise BadInput(f"There is no board {board!r}; the closest is {close}, and all are: "
                   f"{', '.join(targets)}.")
