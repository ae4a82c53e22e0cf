"""ECPIX-5, an open board with an ECP5-5G, a DDR3 SDRAM, a USB serial adapter and a USB PHY."""

import dataclasses

from amaranth_boards.ecpix5 import ECPIX585Platform

from tritstream_hw.boards.ecp5 import DDR3_CONFIG, Ddr3Top, ddr3_target
from tritstream_hw.boards.usb_top import HIGH_SPEED_RATE, HighSpeedUsb
from tritstream_hw.memory.ddr3.chip import DDR3_512MB

__all__ = ["ECPIX5_85F", "ECPIX5_85F_USB"]

# The published model of 2.7 G weights, with which the block RAM is full.
CONFIG = dataclasses.replace(DDR3_CONFIG, max_hidden=2560, max_intermediate=6912,
                             max_state=32 * 2560)
BOARD = {"config": CONFIG, "loader": "openFPGALoader -b ecpix5", "chip": DDR3_512MB,
         "memory_hz": 83_333_333, "clock_hz": 83_333_333, "nextpnr_options": ("--placer", "static")}

# The memory's controller reached 104.6 MHz, the system 105.8.
ECPIX5_85F = ddr3_target(ECPIX585Platform, name="ecpix5_85f", link="UART 3 Mbaud",
                         evidence="routed", **BOARD)


class UsbTop(HighSpeedUsb, Ddr3Top):
    """The design behind the board's USB PHY, at the connector that is not the adapter's."""

    product = "tritstream on ECPIX-5"


# The domain of the PHY reached 95.2 MHz of 60, the system 95.7, and the memory's controller 100.7.
ECPIX5_85F_USB = ddr3_target(ECPIX585Platform, name="ecpix5_85f_usb", link="USB, high speed",
                             link_rate=HIGH_SPEED_RATE, top=UsbTop, evidence="routed", **BOARD)
