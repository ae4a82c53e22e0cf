"""Sipeed Tang Nano 20K: a GW2AR-18 with an SDRAM in its package, and a USB serial adapter."""

from amaranth.build import *
from amaranth_boards.resources import UARTResource

from tritstream_hw.boards.gowin import ApiculaPlatform, packaged_sdram_target

__all__ = ["TANG_NANO_20K", "TangNano20kPlatform"]


class TangNano20kPlatform(ApiculaPlatform):
    """The board's pins, as far as they are used; amaranth-boards has no file of it."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
    ]
    connectors = []


# Placed and routed in 25 minutes beside other work, with 64 % of the LUTs in use: 167.9 MHz, and
# 227.9 of the memory, by a timing model that does not know DSP slices, nor the cells at the pads.
TANG_NANO_20K = packaged_sdram_target(
    TangNano20kPlatform, name="tang_nano_20k", link="UART 2 Mbaud",
    loader="openFPGALoader -b tangnano20k", evidence="routed")
