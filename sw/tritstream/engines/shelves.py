"""States of conversations in a board's memory, while others have its lanes."""

from tritstream.driver import Device
from tritstream.engines.conversation import Conversation
from tritstream.engines.pace import Pace
from tritstream.engines.places import Places

__all__ = ["Shelves"]


class Shelves:
    """Where a state goes from a slot of the device, and comes back from.

    One that is kept here is that of the conversation behind its last token. If the shelves are
    full, one whose state the host has, too, makes way.

    Parameters
    ----------
    device : Device
        With its image.
    pace : Pace
        Sees how long states are on their way.
    """

    def __init__(self, device: Device, pace: Pace):
        self.count = device.shelves
        self._device, self._pace = device, pace
        self._places = Places(self.count)
        self._crcs: dict[int, int] = {}         # of what lies on each shelf

    def keep(self, conversation: Conversation, slot: int) -> bool:
        """Copy the state of a conversation from its slot; return whether there was room."""
        if not self._has_room():
            return False
        shelf = self._places.take(conversation)
        try:
            with self._pace.move():
                self._crcs[shelf] = self._device.keep_state(shelf, slot=slot)
        except BaseException:
            self._places.drop(conversation)
            raise
        return True

    def recall(self, conversation: Conversation, slot: int) -> bool:
        """Make the state of a conversation that of a slot; return whether it was here.

        It is not here any more then.

        Raises
        ------
        DeviceError
            The device has lost it.
        """
        shelf = self._places.find(conversation)
        if shelf is None:
            return False
        try:
            with self._pace.move():
                self._device.recall_state(shelf, self._crcs[shelf], slot=slot)
        finally:
            self._places.drop(conversation)
        return True

    def drop(self, conversation: Conversation) -> None:
        """Forget the state of a conversation, if it is here."""
        self._places.drop(conversation)

    def _has_room(self) -> bool:
        if not self.count:
            return False
        if self._places.oldest() is None:
            return True
        for conversation in self._places.taken():
            if conversation._at_rest:
                self._places.drop(conversation)
                return True
        return False
