"""Checks of what comes from outside, made where it enters."""

import difflib
import ipaddress
import operator
from collections.abc import Iterable

import numpy as np

from tritstream.errors import BadInput

__all__ = ["check_vocabulary", "checked_tokens", "closest", "is_loopback", "no_such_token"]


def no_such_token(token: object, vocab: int) -> BadInput:
    """Return the error for a token that is not in a vocabulary."""
    return BadInput(f"Token {token} is out of range: this model has tokens 0 to {vocab - 1}.")


def closest(name: str, names: Iterable[str]) -> str:
    """Return the one of `names`, at least one, that is most like what a user has written."""
    return difflib.get_close_matches(name, names, 1, cutoff=0)[0]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this machine from itself only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_vocabulary(tokens: np.ndarray, vocab: int) -> None:
    """Raise `BadInput` if one of an array of integers is not in 0 to `vocab` - 1."""
    outside = tokens[(tokens < 0) | (tokens >= vocab)]
    if outside.size:
        raise no_such_token(outside.flat[0], vocab)


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
            raise no_such_token(token, vocab)
    return tokens
