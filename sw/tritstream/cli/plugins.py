"""Verbs: how they are loaded, and those of other packages, which join by an entry point."""

from collections.abc import Callable
from typing import NamedTuple

import typer

from tritstream.support.plugins import Plugin, plugins

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

    plugin: Plugin
    error: ImportError

    @property
    def help(self) -> str:
        return f"Not installed: pip install '{self.plugin.extra}'."

    def load(self) -> Callable:
        def missing(words: typer.Context):
            with self.plugin.needed(f"`tritstream {self.plugin.entry.name}`"):
                raise self.error
        missing.__doc__ = self.help
        return missing


def plugin_verbs() -> dict[str, Verb | _Missing]:
    """Verbs of all packages that are installed, by name."""
    return {name: _loaded(plugin) for name, plugin in plugins(GROUP).items()}


def _loaded(plugin: Plugin) -> Verb | _Missing:
    try:
        return plugin.entry.load()
    except ImportError as error:
        return _Missing(plugin, error)
