"""cocotb agent for a port that is no stream: it has a value in every cycle."""

import random
from typing import Any

from tritstream_sim.agents.payload import encoder, packer, unpacker

__all__ = ["Port"]


class Port:
    """A port of a device, whose values have types, see `tritstream_sim.agents.payload`.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the port.
    shape : shape-like, optional
        Of the values.

    Attributes
    ----------
    handle
        That of cocotb, for its triggers.
    """

    def __init__(self, dut, name: str, shape=None):
        self.handle = dut[name]
        self._width = len(self.handle)
        self._pack, self._unpack = packer(shape), unpacker(shape)
        self._encode = encoder(self.handle)

    @property
    def value(self) -> Any:
        """What the port has; what is set is there a moment later."""
        return self._unpack(int(self.handle.value))

    @value.setter
    def value(self, value):
        self.handle.value = self._encode(self._pack(value))

    def poison(self):
        """Drive noise: what is not offered means nothing."""
        self.handle.value = self._encode(random.getrandbits(self._width))
