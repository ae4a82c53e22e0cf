"""The address spaces of READ and STORE: how many words each has, and which may be written."""

from tritstream.build import BuildConfig
from tritstream.link.messages import RECORD_WORDS, Counters
from tritstream.link.protocol import Space

__all__ = ["WRITABLE", "space_words"]

WRITABLE = frozenset({Space.VECTORS, Space.STATE, Space.REGISTERS})
"""The spaces that STORE may write."""


def space_words(config: BuildConfig) -> dict[Space, int]:
    """Return how many words each space of a device has.

    The vectors of each lane, and the state of each slot, begin at a power of two.
    """
    sizes = {
        Space.VECTORS: _side_by_side(config.vector_elements, config.lanes),
        Space.STATE: _side_by_side(config.max_state, config.slots),
        Space.RECORDS: RECORD_WORDS * config.max_stages,
        Space.COUNTERS: Counters.SIZE // 4,
    }
    if config.memory_registers:
        sizes[Space.REGISTERS] = config.memory_registers
    if config.flash_offset:
        sizes[Space.FLASH] = 1
    return sizes


def _side_by_side(words: int, count: int) -> int:
    return (count - 1 << (words - 1).bit_length()) + words
