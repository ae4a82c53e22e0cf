"""Port of a memory's registers, one access at a time."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["REGISTER", "AccessSignature"]

REGISTER = data.StructLayout({"address": 8, "data": 32, "write": 1})
"""A word of the registers to be read, or to be written; `data` is that of a write."""


class AccessSignature(wiring.Signature):
    """Port of registers, as their user has it.

    Members
    -------
    request : :py:`Out(stream.Signature(REGISTER))`
        What is read or written; taken when all before it is done, or nearly.
    word : :py:`In(stream.Signature(32))`
        The word of each read.
    """

    def __init__(self):
        super().__init__({
            "request": Out(stream.Signature(REGISTER)),
            "word": In(stream.Signature(32)),
        })
