"""Memory that is as a block RAM is when a word is read and written at once."""

from amaranth.lib.memory import Memory

__all__ = ["ANY_WORD", "Ram"]

ANY_WORD = "setparam -set COLLISION_X_MASK 1'1 m:* a:no_rw_check %i %m t:$memrd_v2 %i"
"""Command of Yosys for a design that is read, to be synthesised or simulated: makes `Ram` so."""


class Ram(Memory):
    """Memory with one write port, whose reads promise nothing of a word that is being written.

    Nor does an ECP5's block RAM. But of a plain `Memory` Amaranth promises the word that was there
    before, for which Yosys puts flip-flops and LUTs beside each of its bits, some in the path of
    what is read. In a simulation such a read gives unknown bits, so that every test
    would notice one that matters.
    """

    def __init__(self, *, shape, depth: int):
        super().__init__(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1}, src_loc_at=1)
