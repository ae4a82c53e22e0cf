"""Pads of an SDR SDRAM, whose registers are in cells for both edges of a clock."""

from amaranth.lib import io

from tritstream_hw.phy.sdr import SdrPhy, levels

__all__ = ["CELL_CYCLES", "SdrCellPhy"]

# Of a GW2A's cells (UG289, ODDR and IDDR): what goes out stands at the pad behind three edges, and
# what comes in is there behind two.
CELL_CYCLES = 1 + 3 + 2
"""Edges from the controller to the pads, and back again, in all."""


class SdrCellPhy(SdrPhy):
    """As `SdrPhy`, where place and route finds no other registers at the pads.

    A flip-flop anywhere else is as far away as it happens to be placed, on a GW2A up to 7 ns, and
    no timing model knows of that. The cells give both halves of a period the same, and take what is
    there at its begin.
    """

    def _connect(self, m, pads):
        for name, value in levels(pads).items():
            m.submodules[name] = buffer = io.DDRBuffer("o", getattr(self._ports, name),
                                                       o_domain="memory")
            m.d.comb += [half.eq(value) for half in buffer.o]
        m.submodules.dq = dq = io.DDRBuffer("io", self._ports.dq, i_domain="memory",
                                            o_domain="memory")
        m.d.comb += [half.eq(pads.o) for half in dq.o]
        m.d.comb += [dq.oe.eq(pads.write), self.pads.i.eq(dq.i[0])]
