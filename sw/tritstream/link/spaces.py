"""The address spaces of READ and STORE: how many words each has, and which may be written."""

from tritstream.build import BuildConfig
from tritstream.link.messages import RECORD_WORDS, Counters
from tritstream.link.protocol import Space

__all__ = ["WRITABLE", "space_words"]

WRITABLE = frozenset({Space.VECTORS, Space.STATE})
"""The spaces that STORE may write."""


def space_words(config: BuildConfig) -> dict[Space, int]:
    """Return how many words each space of a device has."""
    return {
        Space.VECTORS: config.vector_elements,
        Space.STATE: config.max_state,
        Space.RECORDS: RECORD_WORDS * config.max_stages,
        Space.COUNTERS: Counters.SIZE // 4,
    }
