"""Embedding rows in a device's memory that has no room for all of them.

A device reads the row of a token at the place that the token's number says. Where the tape leaves
room for some rows only, the host gives it the number of a place instead, and writes the row there
first if it is not there yet.
"""

import collections

__all__ = ["RowCache"]


class RowCache:
    """Which row lies at which place; the one that was used longest ago makes way for another.

    Parameters
    ----------
    places : int
        Rows that there is room for. The tokens of a pass have to have theirs at the same time, so
        at least as many as share one.
    """

    def __init__(self, places: int):
        self._places = places
        self._held: collections.OrderedDict[int, int] = collections.OrderedDict()

    def forget(self) -> None:
        """Take all places for empty."""
        self._held.clear()

    def find(self, token: int) -> tuple[int, bool]:
        """Return the place for a token's row, and whether the row has to be written there."""
        place = self._held.pop(token, None)
        absent = place is None
        if absent:
            full = len(self._held) == self._places
            place = self._held.popitem(last=False)[1] if full else len(self._held)
        self._held[token] = place           # as the latest
        return place, absent
