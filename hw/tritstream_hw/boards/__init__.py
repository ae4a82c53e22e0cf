"""Boards for which a bitstream can be built, one file each."""

from tritstream_hw.boards.butterstick import BUTTERSTICK
from tritstream_hw.boards.ecpix5 import ECPIX5_85F, ECPIX5_85F_USB
from tritstream_hw.boards.icebreaker import ICEBREAKER
from tritstream_hw.boards.icepi_zero import ICEPI_ZERO
from tritstream_hw.boards.orangecrab import ORANGECRAB_85F
from tritstream_hw.boards.tang_nano_20k import TANG_NANO_20K
from tritstream_hw.boards.target import Target
from tritstream_hw.boards.ulx3s import ULX3S_25F, ULX3S_45F, ULX3S_85F, ULX3S_85F_BRAM

__all__ = ["TARGETS", "Target"]

TARGETS = {target.name: target for target in [
    ULX3S_85F, ULX3S_45F, ULX3S_25F, ICEPI_ZERO, TANG_NANO_20K, ECPIX5_85F, ECPIX5_85F_USB,
    ORANGECRAB_85F, BUTTERSTICK, ULX3S_85F_BRAM, ICEBREAKER]}
"""All boards by name."""
