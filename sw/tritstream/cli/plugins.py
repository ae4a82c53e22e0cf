"""Verbs: where their functions are, and those of other packages, which join by an entry point."""

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import NamedTuple

import typer

from tritstream.errors import MissingTool

__all__ = ["GROUP", "Verb", "plugin_verbs"]

GROUP = "tritstream.commands"
"""Group of entry points: the name is the verb, the object a `Verb`."""


class Verb(NamedTuple):
    """Where the function of a verb is, and the first line of its help.

    Parameters
    ----------
    module, function : str
        Imported when the verb is called, so that others need not wait.
    help : str
        One line.
    """

    module: str
    function: str
    help: str

    def load(self) -> Callable:
        """Import the function, and with it whatever the verb needs."""
        return getattr(importlib.import_module(self.module), self.function)


class _Missing(NamedTuple):
    """A verb whose package cannot be imported; it says so, whatever its options."""

    name: str
    error: ImportError

    @property
    def help(self) -> str:
        return f"Not installed: pip install 'tritstream[{self.name}]'."

    def load(self) -> Callable:
        def missing(words: typer.Context):
            raise MissingTool(f"What `tritstream {self.name}` needs is not installed "
                              f"({self.error}): run `pip install 'tritstream[{self.name}]'`.")
        missing.__doc__ = self.help
        return missing


def plugin_verbs() -> dict[str, Verb | _Missing]:
    """Verbs of all packages that are installed, by name.

    What one needs is, by convention, the extra of the same name.
    """
    return {entry.name: _loaded(entry) for entry in importlib.metadata.entry_points(group=GROUP)}


def _loaded(entry: importlib.metadata.EntryPoint) -> Verb | _Missing:
    try:
        return entry.load()
    except ImportError as error:
        return _Missing(entry.name, error)
