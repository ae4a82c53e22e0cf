"""Icepi Zero, a small open board with an ECP5, an SDR SDRAM and a USB serial adapter."""

from amaranth_boards.icepi_zero import IcepiZero1_3Platform

from tritstream_hw.boards.ecp5 import sdram_target
from tritstream_hw.flash.chip import SPI_16MB

__all__ = ["ICEPI_ZERO"]

# The part of a ULX3S with the 25F, in another package. The system reached 83.2 MHz.
ICEPI_ZERO = sdram_target(
    IcepiZero1_3Platform, name="icepi_zero", link="UART 3 Mbaud",
    loader="openFPGALoader -b icepi-zero", evidence="routed", flash=SPI_16MB)
