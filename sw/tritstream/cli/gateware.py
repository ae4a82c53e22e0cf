"""The gateware package, which a host with a board does not need."""

import contextlib
from collections.abc import Iterator

from tritstream.errors import BadInput, MissingTool
from tritstream.support.checks import closest

__all__ = ["all_targets", "find_target", "gateware"]


@contextlib.contextmanager
def gateware() -> Iterator[None]:
    """Context for imports of `tritstream_hw`; `MissingTool` says how to install what is absent."""
    try:
        yield
    except ImportError as error:
        raise MissingTool(f"The gateware is not installed ({error}): run "
                          "pip install 'tritstream[hw]'.") from error


def all_targets() -> dict:
    """Return the `Target` of each board."""
    with gateware():
        from tritstream_hw.boards import TARGETS
    return TARGETS


def find_target(board: str):
    """Return the `Target` of a board; `BadInput` has the closest name and all of them."""
    targets = all_targets()
    if board in targets:
        return targets[board]
    raise BadInput(f"There is no board {board!r}; the closest is {closest(board, targets)}, and "
                   f"all are: {', '.join(targets)}.")
