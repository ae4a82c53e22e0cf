"""Port of the registers of a DDR3 controller."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ADDRESS_BITS", "RegistersSignature"]

ADDRESS_BITS = 10


class RegistersSignature(wiring.Signature):
    """Port of registers, as their user has it.

    Members
    -------
    address : :py:`Out(ADDRESS_BITS)`
        Of a word.
    write, i : :py:`Out(1)`, :py:`Out(32)`
        It is written in this cycle.
    read, o : :py:`Out(1)`, :py:`In(32)`
        It is read; its value is there in the next cycle.
    """

    def __init__(self):
        super().__init__({
            "address": Out(ADDRESS_BITS),
            "write": Out(1),
            "i": Out(32),
            "read": Out(1),
            "o": In(32),
        })
