"""Pads of an SDR SDRAM, whose registers are in cells for both edges of a clock."""

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.pads import PadsSignature
from tritstream_hw.phy.sdr import levels

__all__ = ["CELL_CYCLES", "SdrCellPhy"]

# Of a GW2A's cells (UG289, ODDR and IDDR): what goes out stands at the pad behind three edges, and
# what comes in is there behind two.
CELL_CYCLES = 1 + 3 + 2
"""Edges from the controller to the pads, and back again, in all."""


class SdrCellPhy(wiring.Component):
    """As `SdrPhy`, where place and route finds no other registers at the pads.

    A flip-flop anywhere else is as far away as it happens to be placed, on a GW2A up to 7 ns, and
    no timing model knows of that. The cells give both halves of a period the same, and take what is
    there at its begin.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    ports
        The resource ``sdram`` of a board, with no direction.

    Members
    -------
    pads : :py:`In(PadsSignature(chip))`
        From the controller, in the domain ``memory``.

    The chip's clock is that of the domain ``chip``.
    """

    def __init__(self, chip: SdrChip, ports):
        self._chip = chip
        self._ports = ports
        super().__init__({"pads": In(PadsSignature(chip))})

    def elaborate(self, platform):
        m = Module()
        ports, pads = self._ports, PadsSignature(self._chip).create()
        for name in ("command", "bank", "address", "write", "o"):
            m.d.memory += getattr(pads, name).eq(getattr(self.pads, name))
        m.submodules.clock = clock = io.DDRBuffer("o", ports.clk, o_domain="chip")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        for name, value in levels(pads).items():
            m.submodules[name] = buffer = io.DDRBuffer("o", getattr(ports, name),
                                                       o_domain="memory")
            m.d.comb += [half.eq(value) for half in buffer.o]
        m.submodules.dq = dq = io.DDRBuffer("io", ports.dq, i_domain="memory", o_domain="memory")
        m.d.comb += [half.eq(pads.o) for half in dq.o]
        m.d.comb += [dq.oe.eq(pads.write), self.pads.i.eq(dq.i[0])]
        return m
