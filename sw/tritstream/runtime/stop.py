"""Texts that end a text, wherever the tokens of it begin and end."""

from collections.abc import Sequence

from tritstream.errors import BadInput

__all__ = ["StopTexts"]


class StopTexts:
    """Looks for texts in pieces of another; what could be the beginning of one is held back.

    Parameters
    ----------
    texts : sequence of str
        Whichever is found first ends the text, which does not have it. Of those that end at the
        same letter, the longest.

    Raises
    ------
    BadInput
        One is empty.
    """

    def __init__(self, texts: Sequence[str]):
        if not all(texts):
            raise BadInput("A stop text is empty: give at least one letter.")
        self.texts = tuple(texts)
        self.found: str | None = None
        self._held = ""

    def push(self, piece: str) -> str:
        """Take a piece; return what is certain not to belong to a stop text."""
        if not self.texts or self.found is not None:
            return "" if self.found is not None else piece
        self._held += piece
        ends = [(self._held.find(text) + len(text), -len(text), text) for text in self.texts
                if text in self._held]
        if ends:
            end, _, self.found = min(ends)
            return self._out(end - len(self.found), "")
        keep = max(self._overlap(text) for text in self.texts)
        return self._out(len(self._held) - keep, self._held[len(self._held) - keep:])

    def finish(self) -> str:
        """Return what was held back, as nothing follows."""
        return self._out(len(self._held), "")

    def _out(self, count: int, rest: str) -> str:
        out, self._held = self._held[:count], rest
        return out

    def _overlap(self, text: str) -> int:
        """Letters at the end of what is held that `text` could begin with."""
        most = min(len(text) - 1, len(self._held))
        return next((count for count in range(most, 0, -1)
                     if text.startswith(self._held[-count:])), 0)
