"""ECPIX-5, an open board with an ECP5-5G, a DDR3 SDRAM, a USB serial adapter and a USB PHY."""

from amaranth_boards.ecpix5 import ECPIX585Platform

from tritstream_hw.boards.ecp5 import Ddr3Top, ddr3_target
from tritstream_hw.boards.usb_top import HIGH_SPEED_RATE, HighSpeedUsb
from tritstream_hw.memory.ddr3.chip import DDR3_512MB

__all__ = ["ECPIX5_85F", "ECPIX5_85F_USB"]

BOARD = {"loader": "openFPGALoader -b ecpix5", "chip": DDR3_512MB, "memory_hz": 83_333_333,
         "clock_hz": 83_333_333, "nextpnr_options": ("--placer", "static")}

# The memory's controller reached 89.4 MHz, the system 100.4. Asked for 100 MHz each, they were at
# 92.9 and 99.9 when all was placed.
ECPIX5_85F = ddr3_target(ECPIX585Platform, name="ecpix5_85f", link="UART 3 Mbaud",
                         evidence="routed", **BOARD)


class UsbTop(HighSpeedUsb, Ddr3Top):
    """The design behind the board's USB PHY, at the connector that is not the adapter's."""

    product = "tritstream on ECPIX-5"


ECPIX5_85F_USB = ddr3_target(ECPIX585Platform, name="ecpix5_85f_usb", link="USB, high speed",
                             link_rate=HIGH_SPEED_RATE, top=UsbTop, evidence="estimated", **BOARD)
