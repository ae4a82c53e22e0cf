"""Pads of an SDR SDRAM."""

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.pads import PadsSignature

__all__ = ["PAD_CYCLES", "SdrPhy", "levels"]

PAD_CYCLES = 4
"""Flip-flops from the controller to the pads, and back again, in all."""


def levels(pads) -> dict[str, Value | int]:
    """Return what is at the pads that are no data's; boards' files invert /RAS, /CAS and /WE."""
    ras, cas, we = reversed(~pads.command.as_value())
    return {"clk_en": 1, "cs": 1, "ras": ras, "cas": cas, "we": we, "dqm": 0, "ba": pads.bank,
            "a": pads.address}


class SdrPhy(wiring.Component):
    """A flip-flop at each pad of a chip, another on the way to it, and the chip's clock.

    The pads are spread along a side of the FPGA: the way takes a cycle of its own.

    The chip is disabled until the first edge of the domain ``memory``: whatever stands on its pins
    before is no command.

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
        pads = PadsSignature(self._chip).create()
        for name in ("command", "bank", "address", "write", "o"):
            m.d.memory += getattr(pads, name).eq(getattr(self.pads, name))
        m.submodules.clock = clock = io.DDRBuffer("o", self._ports.clk, o_domain="chip")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        self._connect(m, pads)
        return m

    def _connect(self, m, pads):
        """Connect the registers at the pads."""
        for name, value in levels(pads).items():
            m.submodules[name] = buffer = io.FFBuffer("o", getattr(self._ports, name),
                                                      o_domain="memory")
            m.d.comb += buffer.o.eq(value)
        m.submodules.dq = dq = io.FFBuffer("io", self._ports.dq, i_domain="memory",
                                           o_domain="memory")
        m.d.comb += [dq.o.eq(pads.o), dq.oe.eq(pads.write), pads.i.eq(dq.i)]
        m.d.memory += self.pads.i.eq(pads.i)
