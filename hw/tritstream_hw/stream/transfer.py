"""What passes from a stream's source to its sink."""

from amaranth import *

__all__ = ["taken"]


def taken(stream) -> Value:
    """Whether a payload passes in this cycle: it is offered, and it is accepted."""
    return stream.valid & stream.ready
