"""What packages bring by entry points: the name is what a user says."""

import contextlib
import importlib.metadata
from collections.abc import Iterator
from typing import NamedTuple

from tritstream.errors import MissingTool

__all__ = ["Plugin", "plugins"]


class Plugin(NamedTuple):
    """An entry point; what it needs besides is, by convention, the extra of the same name."""

    entry: importlib.metadata.EntryPoint

    @property
    def extra(self) -> str:
        """What pip has to install for it, e.g. ``tritstream[sim]``."""
        package = "tritstream" if self.entry.dist is None else self.entry.dist.name
        return f"{package}[{self.entry.name}]"

    @contextlib.contextmanager
    def needed(self, what: str) -> Iterator[None]:
        """Make a `MissingTool` of an import that fails; `what` is how the user calls it."""
        try:
            yield
        except ImportError as error:
            raise MissingTool(f"What {what} needs is not installed ({error}): run `pip install "
                              f"'{self.extra}'`.") from error


def plugins(group: str) -> dict[str, Plugin]:
    """Return the entry points of a group in all packages that are installed, by name."""
    return {entry.name: Plugin(entry) for entry in importlib.metadata.entry_points(group=group)}
