"""What all parts of the link know about a frame."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC

from tritstream.link.frames import FrameHeader
from tritstream.link.protocol import MAX_PAYLOAD
from tritstream_hw.layouts import table_layout

__all__ = ["HEADER", "HEADER_BYTES", "CRC_BYTES", "LENGTH_BITS", "frame_crc"]

HEADER = data.StructLayout({
    name: field.shape for name, field in table_layout(FrameHeader) if name != "sync"})
"""Header of a frame behind its sync byte, first byte in the lowest bits."""

HEADER_BYTES = HEADER.size // 8

CRC_BYTES = 4

LENGTH_BITS = MAX_PAYLOAD.bit_length()
"""Width of a payload's length once it has been checked."""


def frame_crc():
    """Return a CRC-32 processor that takes one byte per cycle."""
    return CRC32_ISO_HDLC(data_width=8).create()
