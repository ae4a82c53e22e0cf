"""The registers of a device's memory, over its link."""

import time

import numpy as np

from tritstream.link.protocol import Space

__all__ = ["LinkAccess"]


class LinkAccess:
    """What `tritstream.ddr3.levelling` calls an access.

    Parameters
    ----------
    device : Device
        The driver.
    """

    def __init__(self, device):
        self._device = device

    def read(self, address: int, words: int) -> list[int]:
        """Return consecutive words."""
        return self._device.read(Space.REGISTERS, address, words).view(np.uint32).tolist()

    def store(self, address: int, words: list[int]) -> None:
        """Write consecutive words."""
        self._device.store(Space.REGISTERS, address, np.array(words, "<u4"))

    def wait(self, seconds: float) -> None:
        """Let time pass on the device, whose link is used meanwhile: so it does in a simulation."""
        end = self._now() + seconds
        while self._now() < end:
            self.read(0, 1)

    def _now(self) -> float:
        clock = self._device.clock()
        return time.monotonic() if clock is None else clock
