"""Tokens to pieces of text, up to a stop text."""

import io
from collections.abc import Callable, Sequence

from tritstream.errors import BadInput
from tritstream.model.tokenizer import Detokenizer, Tokenizer
from tritstream.runtime.stop import StopTexts

__all__ = ["CONTEXT", "Pieces", "stopper"]

CONTEXT = 64
"""Tokens before a text that the spacing of its first piece may depend on, and more."""


class Pieces:
    """The text of a stream of tokens: a piece for each, empty inside a character.

    Parameters
    ----------
    tokenizer : Tokenizer or None
        Makes text of tokens; None: all pieces are empty.
    prompt : sequence of int
        What comes before.
    stop : sequence of str
        Texts that end the text, which does not have them. What could be the beginning of one comes
        with the piece that shows that it is none.

    Raises
    ------
    BadInput
        There are stop texts, and no tokenizer; or an empty one.
    """

    def __init__(self, tokenizer: Tokenizer | None, prompt: Sequence[int],
                 stop: Sequence[str] = ()):
        if stop and tokenizer is None:
            raise BadInput("A model without a tokenizer makes no text that a stop text could end: "
                           "leave out the stop texts.")
        self._text = io.StringIO()
        self._detokenizer = Detokenizer(tokenizer, prompt) if tokenizer else None
        self._stop = StopTexts(stop)

    @property
    def text(self) -> str:
        """All pieces so far."""
        return self._text.getvalue()

    @property
    def stopped(self) -> bool:
        """Whether a stop text has ended the text."""
        return self._stop.found is not None

    def push(self, token: int) -> str:
        """Take a token; return the piece that is certain with it, perhaps empty."""
        piece = self._detokenizer.push(token) if self._detokenizer else ""
        return self._written(self._stop.push(piece))

    def finish(self) -> str:
        """Return what is left at the end."""
        rest = self._detokenizer.finish() if self._detokenizer else ""
        return self._written(self._stop.push(rest) + self._stop.finish())

    def _written(self, piece: str) -> str:
        self._text.write(piece)
        return piece


def stopper(tokenizer: Tokenizer | None, prompt: Sequence[int],
            stop: Sequence[str]) -> Callable[[int], bool] | None:
    """Return what says of each token in turn whether a stop text is complete with it.

    None if there are no stop texts; the arguments are those of `Pieces`.
    """
    if not stop:
        return None
    pieces = Pieces(tokenizer, prompt, stop)

    def stops(token: int) -> bool:
        pieces.push(token)
        return pieces.stopped

    return stops
