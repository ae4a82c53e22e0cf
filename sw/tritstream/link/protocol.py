"""Codes and sizes of the link that host and gateware share; `docs/link.md` has their meaning."""

import enum

__all__ = [
    "DEVICE_ROOM",
    "DEVICE_WINDOW",
    "HOST_ROOM",
    "MAX_PAYLOAD",
    "NO_STOP",
    "PROTOCOL",
    "SYNC",
    "Code",
    "Kind",
    "PassFlag",
    "RunFlag",
    "Space",
    "Status",
]

PROTOCOL = 5
"""Version of frames and messages, reported by IDENTIFY."""

SYNC = 0xA5
"""First byte of a frame."""

MAX_PAYLOAD = 512
"""Most bytes that one frame carries."""

DEVICE_ROOM = 8
"""Frames of the largest size that the device can hold on their way in."""

DEVICE_WINDOW = 4
"""Frames that the device can have sent without an acknowledgement."""

HOST_ROOM = 64
"""Frames that the host can hold."""

NO_STOP = 0xFFFF_FFFF
"""Stop token of CONFIGURE that no token equals."""


class Kind(enum.IntEnum):
    """What a frame is for."""

    DATA = 0
    ACK = 1
    NAK = 2
    RESET = 3
    RESET_ACK = 4


class Code(enum.IntEnum):
    """First byte of a command or reply."""

    IDENTIFY = 0x01
    WRITE = 0x02
    DIGEST = 0x03
    CONFIGURE = 0x04
    RUN = 0x05
    READ = 0x06
    STORE = 0x07
    LOGIT = 0x08
    KEEP = 0x10
    RECALL = 0x11
    UNKNOWN = 0xFF


class Status(enum.IntEnum):
    """Second byte of most replies."""

    OK = 0
    OUT_OF_RANGE = 1
    UNKNOWN_SPACE = 2
    BAD_TAPE = 3
    BAD_TOKEN = 4
    NO_MEMORY = 5


class RunFlag(enum.IntFlag):
    """Flags of RUN."""

    FRESH = 1
    STREAMED = 2
    LOGITS = 4
    CANDIDATES = 8


class LaneFlag(enum.IntFlag):
    """Flags of a token that shares a pass."""

    FRESH = 1
    FOLLOWS = 2
    BODY = 4


class PassFlag(enum.IntFlag):
    """Flags of the end of an answer."""

    LAST = 1


class Space(enum.IntEnum):
    """Address spaces of READ and STORE."""

    VECTORS = 0
    STATE = 1
    RECORDS = 2
    COUNTERS = 3
    REGISTERS = 4
    FLASH = 5
