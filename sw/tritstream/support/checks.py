"""Checks of what comes from outside, made where it enters."""

import operator
from collections.abc import Iterable

from tritstream.errors import BadInput

__all__ = ["checked_tokens"]


def checked_tokens(tokens: Iterable[int], vocab: int) -> list[int]:
    """Return tokens as a list of plain integers, if all are in a vocabulary.

    Raises
    ------
    BadInput
        A token is no integer, or not in 0 to `vocab` - 1.
    """
    tokens = list(tokens)
    for index, token in enumerate(tokens):
        try:
            tokens[index] = operator.index(token)
        except TypeError:
            raise BadInput(f"{token!r} is no token: give numbers of 0 to {vocab - 1}.") from None
        if not 0 <= token < vocab:
            raise BadInput(f"Token {token} is out of range: this model has tokens 0 to "
                           f"{vocab - 1}.")
    return tokens
