"""A memory as the debug port sees it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SpaceSignature"]


class SpaceSignature(wiring.Signature):
    """Port into one memory, as the debug port has it.

    Members
    -------
    open : :py:`Out(1)`
        No pass runs: the memory serves this port and no other.
    address : :py:`Out(32)`
        Which word.
    write : :py:`Out(1)`, write_data : :py:`Out(32)`
        Strobe: the word becomes this. Only while `open`.
    data : :py:`In(signed(32))`
        The word, one cycle after its address.
    """

    def __init__(self):
        super().__init__({
            "open":       Out(1),
            "address":    Out(32),
            "write":      Out(1),
            "write_data": Out(32),
            "data":       In(signed(32)),
        })
