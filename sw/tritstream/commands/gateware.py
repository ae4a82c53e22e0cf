"""The gateware package, which a host with a board does not need."""

import importlib
from types import ModuleType

from tritstream.errors import MissingTool

__all__ = ["gateware"]


def gateware(name: str) -> ModuleType:
    """Import a module of `tritstream_hw`; `MissingTool` says how to install what is absent."""
    try:
        return importlib.import_module(f"tritstream_hw.{name}")
    except ImportError as error:
        raise MissingTool(f"The gateware is not installed ({error}): run "
                          "pip install 'tritstream[hw]'.") from error
