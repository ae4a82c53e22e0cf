"""A flash memory, as far as a board starts with what is in it."""

import dataclasses

from tritstream.flash import FRAME_BYTES

__all__ = ["SPI_16MB", "FlashChip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlashChip:
    """A flash memory behind the pins of SPI.

    Parameters
    ----------
    bytes : int
        Its size.
    offset : int
        Where the model begins; the bitstream lies before.
    """

    bytes: int
    offset: int

    @property
    def most(self) -> int:
        """Bytes of memory that the largest model fills."""
        return self.bytes - self.offset - FRAME_BYTES


SPI_16MB = FlashChip(bytes=16 << 20, offset=4 << 20)
"""IS25LP128F, W25Q128 and the like. The bitstream of an 85F has up to 2 MiB."""
