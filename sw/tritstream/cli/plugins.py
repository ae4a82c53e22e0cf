"""Verbs: how they are loaded, and those of other packages, which join by an entry point."""

import importlib.metadata
from collections.abc import Callable
from typing import NamedTuple

import typer

from tritstream.errors import MissingTool

__all__ = ["GROUP", "Verb", "plugin_verbs"]

GROUP = "tritstream.commands"
"""Group of entry points: the name is the verb, the object a `Verb`."""


class Verb(NamedTuple):
    """A verb before it is called.

    Parameters
    ----------
    load : callable
        Imports the function of the verb, with whatever that needs, and returns it: called when the
        verb is, so that others need not wait.
    help : str
        One line.
    """

    load: Callable[[], Callable]
    help: str


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
