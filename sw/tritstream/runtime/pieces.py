"""Tokens to pieces of text, up to a stop text."""

from collections.abc import Sequence

from tritstream.errors import BadInput
from tritstream.model.tokenizer import Detokenizer, Tokenizer
from tritstream.runtime.stop import StopTexts

__all__ = ["Pieces"]


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
        self.text = ""
        self._detokenizer = Detokenizer(tokenizer, prompt) if tokenizer else None
        self._stop = StopTexts(stop)

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
        self.text += piece
        return piece
