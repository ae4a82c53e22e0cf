"""What all parts of the link know about a frame."""

import zlib

from amaranth import *
from amaranth.lib import data

from tritstream.link.frames import FrameHeader
from tritstream.link.protocol import MAX_PAYLOAD
from tritstream_hw.layouts import table_layout

__all__ = ["CRC_BYTES", "HEADER", "HEADER_BYTES", "LENGTH_BITS", "RESIDUE"]

HEADER = data.StructLayout({
    name: field.shape for name, field in table_layout(FrameHeader) if name != "sync"})
"""Header of a frame behind its sync byte, first byte in the lowest bits."""

HEADER_BYTES = HEADER.size // 8

CRC_BYTES = 4

RESIDUE = zlib.crc32(zlib.crc32(b"").to_bytes(CRC_BYTES, "little"))
"""CRC of all that has its own CRC behind it."""

LENGTH_BITS = MAX_PAYLOAD.bit_length()
"""Width of a payload's length once it has been checked."""
