"""A model in a board's flash memory, from which the board fills its memory when it starts.

`docs/image.md` describes the bytes; host and gateware take their constants from here.
"""

import enum
import struct
import zlib

from tritstream.stripes import Stripes

__all__ = ["FRAME_BYTES", "MAGIC", "Stored", "stored"]

MAGIC = b"trit"
"""The first bytes."""

_HEADER = struct.Struct("<4sI")
_CRC = struct.Struct("<I")

FRAME_BYTES = _HEADER.size + _CRC.size
"""Bytes in front of a payload and behind it."""


class Stored(enum.IntEnum):
    """What a board has found in its flash memory when it started."""

    NOTHING = 0
    LOADED = 1
    DAMAGED = 2
    TOO_LARGE = 3

    @property
    def sentence(self) -> str:
        """What that means, and what to do."""
        return _SENTENCES[self]


_SENTENCES = {
    Stored.NOTHING: "the flash memory holds no model: `tritstream program BOARD --model M` stores "
                    "one",
    Stored.LOADED: "the model in the flash memory is in the memory since the board started",
    Stored.DAMAGED: "the model in the flash memory is damaged: store it again with `tritstream "
                    "program BOARD --model M`",
    Stored.TOO_LARGE: "the model in the flash memory is larger than the memory: store another with "
                      "`tritstream program BOARD --model M`",
}


def stored(payload, stripes: Stripes) -> bytes:
    """Return what a flash memory holds for a board to start with.

    Parameters
    ----------
    payload : bytes-like
        Content of the board's memory, whole units.
    stripes : Stripes
        Of the board's build.
    """
    data = bytes(payload)
    units = len(data) // stripes.unit_bytes
    return _HEADER.pack(MAGIC, units) + data + _CRC.pack(zlib.crc32(data))
