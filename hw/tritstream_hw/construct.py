"""Blocks, and signatures, by the numbers that they take of a build."""

import inspect
from typing import TypeVar

from amaranth.lib import wiring

from tritstream.build import BuildConfig

__all__ = ["construct"]

Block = TypeVar("Block", wiring.Component, wiring.Signature)


def construct(block: type[Block], config: BuildConfig) -> Block:
    """Return a block of this build, or a signature.

    Their parameters have the names that the same numbers have in `BuildConfig`.
    """
    return block(**{name: getattr(config, name) for name in inspect.signature(block).parameters})
