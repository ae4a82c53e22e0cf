"""ECPIX-5, an open board with an ECP5-5G, a DDR3 SDRAM and a USB serial adapter."""

from amaranth_boards.ecpix5 import ECPIX585Platform

from tritstream_hw.boards.ecp5 import ddr3_target
from tritstream_hw.memory.ddr3.chip import DDR3_512MB

__all__ = ["ECPIX5_85F"]

# The memory's controller reached 89.4 MHz, the system 100.4. Asked for 100 MHz each, they were at
# 92.9 and 99.9 when all was placed.
ECPIX5_85F = ddr3_target(
    ECPIX585Platform, name="ecpix5_85f", link="UART 3 Mbaud", loader="openFPGALoader -b ecpix5",
    evidence="routed", chip=DDR3_512MB, memory_hz=83_333_333, clock_hz=83_333_333,
    nextpnr_options=("--placer", "static"))
