"""The large memory of an iCE40 UltraPlus: four SPRAMs of 16 Ki words of 16 bits."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DataMemory"]

BLOCKS = 4
BLOCK_BITS = 14             # of an address within one


class DataMemory(wiring.Component):
    """128 KiB with one port; what it holds at first is unknown.

    Members
    -------
    address : :py:`In(16)`
        Of a word of 16 bits.
    word : :py:`In(16)`, lanes : :py:`In(2)`, write : :py:`In(1)`
        What is written, and which bytes of it.
    read : :py:`Out(16)`
        What was at the address, one cycle later; undefined behind a cycle that has written.
    """

    address: In(16)
    word: In(16)
    lanes: In(2)
    write: In(1)
    read: Out(16)

    def elaborate(self, platform):
        m = Module()
        block = Signal(range(BLOCKS))
        chosen = Signal.like(block)                     # in the cycle before
        outputs = [Signal(16) for _ in range(BLOCKS)]
        m.d.comb += block.eq(self.address[BLOCK_BITS:])
        m.d.sync += chosen.eq(block)
        for n, output in enumerate(outputs):
            m.submodules[f"block{n}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(), i_CHIPSELECT=block == n, i_WREN=self.write,
                i_ADDRESS=self.address[:BLOCK_BITS], i_DATAIN=self.word,
                i_MASKWREN=Cat(lane.replicate(2) for lane in self.lanes),   # of four bits each
                i_STANDBY=C(0, 1), i_SLEEP=C(0, 1), i_POWEROFF=C(1, 1),     # the last one is low
                o_DATAOUT=output)
            with m.If(chosen == n):
                m.d.comb += self.read.eq(output)
        return m
