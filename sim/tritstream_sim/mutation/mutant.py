"""A fault that can be put into the sources."""

import dataclasses
import pathlib

from tritstream.errors import BadInput

__all__ = ["Mutant"]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    name : str
        ``block.fault``.
    what : str
        What the fault does, for the report.
    file : str
        Path from the top of the checkout.
    old, new : str
        Text of the source that occurs exactly once, and what replaces it.
    tests : str or tuple of str
        pytest nodes of which at least one must fail.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: str | tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """`tests` as a tuple."""
        return (self.tests,) if isinstance(self.tests, str) else self.tests

    def apply(self, root: pathlib.Path):
        """Put the fault into the tree at `root`.

        Raises
        ------
        BadInput
            If `old` is not there exactly once, or the fault changes nothing.
        """
        path = root / self.file
        if not path.is_file():
            raise BadInput(f"Mutant {self.name}: there is no file {self.file}; mend the list.")
        text = path.read_text()
        if (count := text.count(self.old)) != 1:
            raise BadInput(f"Mutant {self.name}: its text occurs {count} times in {self.file}, "
                           "not once; mend the list.")
        if self.old == self.new:
            raise BadInput(f"Mutant {self.name} changes nothing; mend the list.")
        path.write_text(text.replace(self.old, self.new))
