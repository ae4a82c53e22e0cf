"""Which conversation has which place in a device's memory."""

import collections
import weakref

from tritstream.engines.conversation import Conversation

__all__ = ["Places"]


class Places:
    """Places by conversation, of which none is kept alive.

    Parameters
    ----------
    count : int
        Places.
    """

    def __init__(self, count: int):
        self._free = list(range(count))
        # By identity, least recently used first.
        self._taken: collections.OrderedDict[int, tuple[weakref.ref, int]] = (
            collections.OrderedDict())

    def find(self, conversation: Conversation) -> int | None:
        """Return the place of a conversation whose turn it is; None if it has none."""
        owner, place = self._taken.get(id(conversation), (None, None))
        if owner is None or owner() is not conversation:
            return None
        self._taken.move_to_end(id(conversation))
        return place

    def take(self, conversation: Conversation) -> int:
        """Give a conversation a free place."""
        gone = self._taken.pop(id(conversation), None)      # whose identity it has got
        if gone is not None:
            self._free.append(gone[1])
        place = self._free.pop()
        self._taken[id(conversation)] = weakref.ref(conversation), place
        return place

    def drop(self, conversation: Conversation) -> None:
        """Free the place of a conversation, if it has one."""
        if self.find(conversation) is not None:
            self._free.append(self._taken.pop(id(conversation))[1])

    def oldest(self) -> Conversation | None:
        """Return the conversation that has to go for another, if one has."""
        if self._free:
            return None
        oldest = self.first()
        return None if self._free else oldest

    def first(self) -> Conversation | None:
        """Return the one of those that have places whose turn was longest ago; None: nobody.

        Those that have ended, or are gone, lose theirs.
        """
        return next(iter(self.taken()), None)

    def taken(self) -> list[Conversation]:
        """Return those that have places, the one whose turn was longest ago first; see `first`."""
        taken = []
        for key, (owner, place) in list(self._taken.items()):
            conversation = owner()
            if conversation is None or conversation.closed:
                del self._taken[key]
                self._free.append(place)
            else:
                taken.append(conversation)
        return taken
