"""ULX3S, an open board with an ECP5, an SDR SDRAM and a USB serial adapter."""

from amaranth_boards.ulx3s import (
    ULX3S_25F_Platform,
    ULX3S_45F_Platform,
    ULX3S_85F_Platform,
)

from tritstream_hw.boards.ecp5 import block_ram_target, sdram_target
from tritstream_hw.flash.chip import SPI_16MB

__all__ = ["ULX3S_25F", "ULX3S_45F", "ULX3S_85F", "ULX3S_85F_BRAM"]

BOARD = {"link": "UART 3 Mbaud", "loader": "openFPGALoader -b ulx3s"}

# From 72 MHz on the memory is the limit, of every bundled model; a faster clock shortens what is
# between the stages. Asked for 80 MHz, the 45F reached 97.0, and the 25F, with 51 of its 56 block
# RAMs and 20 of its 28 multipliers in use, 99.3.
ULX3S_85F = sdram_target(ULX3S_85F_Platform, name="ulx3s_85f", evidence="routed", flash=SPI_16MB,
                         clock_hz=100_000_000, **BOARD)
ULX3S_45F = sdram_target(ULX3S_45F_Platform, name="ulx3s_45f", evidence="routed", flash=SPI_16MB,
                         **BOARD)
ULX3S_25F = sdram_target(ULX3S_25F_Platform, name="ulx3s_25f", evidence="routed", flash=SPI_16MB,
                         **BOARD)

# `tiny` lies in 128 KiB, and P = 16 makes 12,800 tok/s of it at 80 MHz, of which the UART carries
# 6,500. Block RAM is spread over the whole part, and what is far away is slow: V = 8, which makes
# 7 % more tokens per cycle, was an eighth slower when both were placed, with an earlier datapath.
ULX3S_85F_BRAM = block_ram_target(
    ULX3S_85F_Platform, name="ulx3s_85f_bram", evidence="routed", clock_hz=80_000_000,
    memory_bytes=128 * 1024, **BOARD)
