"""Pins of the flash memory from which an ECP5 takes its bitstream."""

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from tritstream_hw.flash.reader import FlashSignature

__all__ = ["FlashPhy"]


class FlashPhy(wiring.Component):
    """The pins are ordinary ones once the FPGA runs, but for that of the clock.

    That belongs to the part of the FPGA that takes the bitstream, which lends it by `USRMCLK`.

    Parameters
    ----------
    ports
        The resource of a board's flash memory, with no direction.

    Members
    -------
    pads : :py:`In(FlashSignature())`
        From the reader.
    """

    def __init__(self, ports):
        self._ports = ports
        super().__init__({"pads": In(FlashSignature())})

    def elaborate(self, platform):
        m = Module()
        ports, pads = self._ports, self.pads
        m.submodules.clock = Instance("USRMCLK", i_USRMCLKI=pads.clock, i_USRMCLKTS=C(0))
        # Neither write protection nor a pause is wanted; both are inverted by the board's file.
        for name, value in {"cs": pads.select, "copi": pads.o, "wp": 0, "hold": 0}.items():
            m.submodules[name] = buffer = io.Buffer("o", getattr(ports, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.cipo = cipo = io.Buffer("i", ports.cipo)
        m.d.comb += pads.i.eq(cipo.i)
        return m
