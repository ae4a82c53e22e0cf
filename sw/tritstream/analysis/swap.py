"""How long it takes that a state leaves a board's lane for its memory, and another comes."""

import math

from tritstream.build import BuildConfig

__all__ = ["KEEP_CYCLES", "RECALL_CYCLES", "link_seconds", "memory_seconds"]

KEEP_CYCLES = 7         # of a word on its way to the memory, four bytes of it included
RECALL_CYCLES = 3       # of one that comes from there, if a beat has whole words


def memory_seconds(words: int, config: BuildConfig, memory_rate: float | None = None) -> float:
    """Return the time for both states on the board, the two digests of these included.

    Parameters
    ----------
    words : int
        Elements of a state.
    config : BuildConfig
        Of a board with a memory.
    memory_rate : float or None
        Bytes per cycle that it delivers; None: a beat.
    """
    part = math.gcd(4, config.stripe_bytes)     # of a beat, that is taken in a cycle
    rate = min(part, part if memory_rate is None else memory_rate)
    digests = 2 * 4 * words / rate
    recall = max(RECALL_CYCLES + 4 / part - 1, 4 / rate)
    return (words * (KEEP_CYCLES + recall) + digests) / config.clock_hz


def link_seconds(words: int, config: BuildConfig) -> float | None:
    """Return the time for both over the link; None if its rate is unknown."""
    return 2 * 4 * words / config.link_rate if config.link_rate else None
