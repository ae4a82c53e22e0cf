"""Frames of the link as bytes: see `docs/link.md`."""

import struct
import zlib
from typing import NamedTuple

from tritstream.link.protocol import MAX_PAYLOAD, SYNC, Kind
from tritstream.link.table import Table, field, table

__all__ = ["MAX_FRAME", "Frame", "FrameHeader", "Parser"]


@table
class FrameHeader(Table):
    """What comes before the payload of a frame."""

    sync: int = field("u8", f"`0x{SYNC:X}`")
    kind: Kind = field("u8", ", ".join(f"{kind} `{kind.name}`" for kind in Kind))
    seq: int = field("u8", "`DATA`: sequence number, modulo 256. `RESET`, `RESET_ACK`: a nonce. "
                           "Else 0")
    ack: int = field("u8", "the sequence number that the sender of this frame expects next")
    credit: int = field("u8", "how many frames from `ack` on the sender of this frame has room for")
    length: int = field("u16", f"bytes of payload: 1 to {MAX_PAYLOAD} in `DATA`, 0 otherwise")


_HEADER = FrameHeader.STRUCT
_CRC = struct.Struct("<I")
_SYNC = bytes([SYNC])
_KINDS = frozenset(Kind)

MAX_FRAME = _HEADER.size + MAX_PAYLOAD + _CRC.size
"""Bytes of the longest frame."""


class Frame(NamedTuple):
    """One frame; `seq` holds the nonce of ``RESET`` and ``RESET_ACK``."""

    kind: Kind
    seq: int
    ack: int
    credit: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the frame, sync and CRC included."""
        head = _HEADER.pack(SYNC, self.kind, self.seq, self.ack, self.credit, len(self.payload))
        body = head + self.payload
        return body + _CRC.pack(zlib.crc32(memoryview(body)[1:]))


class Parser:
    """Finds frames in a stream of bytes in which anything may be wrong."""

    def __init__(self):
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the frame that has begun and not ended: fewer than `MAX_FRAME`."""
        return len(self._buffer)

    def abandon(self) -> None:
        """Forget the frame that has begun."""
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Frame | None]:
        """Take bytes in pieces of any size; return frames, and None for each that was damaged."""
        buffer = self._buffer
        buffer += data
        found = []
        start = buffer.find(_SYNC)
        while start >= 0 and len(buffer) - start >= _HEADER.size:
            _, kind, seq, ack, credit, length = _HEADER.unpack_from(buffer, start)
            if not _possible(kind, length):
                found.append(None)
                start = buffer.find(_SYNC, start + _HEADER.size)
                continue
            end = start + _HEADER.size + length
            if len(buffer) < end + _CRC.size:
                break
            body = bytes(buffer[start + 1:end])
            if zlib.crc32(body) == _CRC.unpack_from(buffer, end)[0]:
                found.append(Frame(Kind(kind), seq, ack, credit, body[_HEADER.size - 1:]))
            else:
                found.append(None)
            start = buffer.find(_SYNC, end + _CRC.size)
        del buffer[:start if start >= 0 else len(buffer)]
        return found


def _possible(kind: int, length: int) -> bool:
    if kind == Kind.DATA:
        return 1 <= length <= MAX_PAYLOAD
    return kind in _KINDS and length == 0
