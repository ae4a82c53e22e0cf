"""Commands and replies as bytes: see `docs/link.md`."""

import dataclasses
import struct

import numpy as np

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, UNIT, padded
from tritstream.link.protocol import PROTOCOL, PassFlag, RunFlag, Status

__all__ = [
    "ARGUMENTS",
    "Configuration",
    "Counters",
    "Identity",
    "PassResult",
    "Run",
    "StageRecord",
    "reason",
]

_IDENTITY = struct.Struct("<BB8sBBBBHHIIIII")
_CONFIGURATION = struct.Struct("<IIHHII")
_RUN = struct.Struct("<BIHIH")
_HEAD = struct.Struct("<BBHB")              # flags, candidates, mantissa, shift
_CANDIDATE = struct.Struct("<Ii")
_TAIL = struct.Struct("<III")               # digest, cycles, stalls

ARGUMENTS = {"units": struct.Struct("<II"), "words": struct.Struct("<BII")}
"""Arguments of WRITE and DIGEST (unit, units), of READ and STORE (space, address, words)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What a device says that it is: the reply to IDENTIFY."""

    protocol: int
    formats: int
    build: bytes
    beat_bytes: int
    elements: int
    lanes: int
    candidates: int
    max_hidden: int
    max_intermediate: int
    max_state: int
    max_vocab: int
    memory_units: int
    clock_hz: int
    link_rate: int

    SIZE = _IDENTITY.size

    @property
    def z_base(self) -> int:
        """Address of the vector z in the space of vectors."""
        return padded(self.max_hidden)

    @classmethod
    def of(cls, config: BuildConfig) -> "Identity":
        """Return what a device built from `config` says."""
        return cls(protocol=PROTOCOL, formats=FORMATS.version, build=config.digest(),
                   beat_bytes=config.beat_bytes, elements=config.elements, lanes=config.lanes,
                   candidates=config.candidates, max_hidden=config.max_hidden,
                   max_intermediate=config.max_intermediate, max_state=config.max_state,
                   max_vocab=config.max_vocab, memory_units=config.memory_bytes // UNIT,
                   clock_hz=config.clock_hz, link_rate=config.link_rate)

    def pack(self) -> bytes:
        """Return the reply without its code."""
        return _IDENTITY.pack(*dataclasses.astuple(self))

    @classmethod
    def unpack(cls, data: bytes) -> "Identity":
        """Inverse of `pack`."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**dict(zip(names, _IDENTITY.unpack(data), strict=True)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """Arguments of CONFIGURE: where the image lies, and how large its parts are."""

    rows_unit: int
    tape_unit: int
    lead_units: int
    row_units: int
    vocab: int
    stop_token: int

    SIZE = _CONFIGURATION.size

    def pack(self) -> bytes:
        """Return the arguments."""
        return _CONFIGURATION.pack(*dataclasses.astuple(self))

    @classmethod
    def unpack(cls, data: bytes) -> "Configuration":
        """Inverse of `pack`."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**dict(zip(names, _CONFIGURATION.unpack(data), strict=True)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Arguments of RUN.

    Parameters
    ----------
    flags : RunFlag
        Fresh state, weights streamed, all logits sent.
    token : int
        Fed to the first pass.
    count : int
        Passes, 1 to 65,535; each behind the first is fed the best candidate of the one before.
    tape_units, stages : int
        How much of the tape is played, without the embedding row.
    """

    flags: RunFlag = RunFlag(0)
    token: int
    count: int = 1
    tape_units: int
    stages: int

    SIZE = _RUN.size
    MOST = 65_535

    def pack(self) -> bytes:
        """Return the arguments."""
        return _RUN.pack(*dataclasses.astuple(self))

    @classmethod
    def unpack(cls, data: bytes) -> "Run":
        """Inverse of `pack`."""
        flags, token, count, tape_units, stages = _RUN.unpack(data)
        return cls(flags=RunFlag(flags), token=token, count=count, tape_units=tape_units,
                   stages=stages)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassResult:
    """What one pass gave.

    Parameters
    ----------
    token : int
        What it was fed; not part of the message.
    last : bool
        Whether the run ended with it.
    candidates : tuple of (int, int)
        Token and accumulator of the best logits, best first; none if the head was not played.
    mantissa, shift : int
        Scale of the logits.
    digest : int
        CRC-32 of all stage vectors so far.
    cycles, stalls : int
        Clock cycles of the pass, and those spent waiting for the source.
    logits : np.ndarray or None
        int32 [vocab], accumulators of all tokens, if they were asked for; messages of their own.
    """

    token: int
    last: bool
    candidates: tuple[tuple[int, int], ...]
    mantissa: int
    shift: int
    digest: int
    cycles: int
    stalls: int
    logits: np.ndarray | None = None

    HEAD_SIZE = _HEAD.size

    @property
    def best(self) -> int:
        """The most likely next token."""
        return self.candidates[0][0]

    @property
    def scale(self) -> float:
        """What an accumulator is multiplied by to give a logit."""
        return self.mantissa * 2.0 ** (FORMATS.dequant_up - self.shift)

    def pack(self) -> bytes:
        """Return the answer to a pass that succeeded, without code and status."""
        flags = PassFlag.LAST if self.last else PassFlag(0)
        best = b"".join(_CANDIDATE.pack(token, acc) for token, acc in self.candidates)
        return (_HEAD.pack(flags, len(self.candidates), self.mantissa, self.shift) + best
                + _TAIL.pack(self.digest, self.cycles, self.stalls))

    @staticmethod
    def rest_size(head: bytes) -> int:
        """Return how many bytes follow the first `HEAD_SIZE` of the answer."""
        return _HEAD.unpack(head)[1] * _CANDIDATE.size + _TAIL.size

    @classmethod
    def unpack(cls, data: bytes, *, token: int, logits: np.ndarray | None = None) -> "PassResult":
        """Inverse of `pack`."""
        flags, count, mantissa, shift = _HEAD.unpack_from(data)
        middle = _HEAD.size + count * _CANDIDATE.size
        digest, cycles, stalls = _TAIL.unpack_from(data, middle)
        return cls(token=token, last=bool(flags & PassFlag.LAST),
                   candidates=tuple(_CANDIDATE.iter_unpack(data[_HEAD.size:middle])),
                   mantissa=mantissa, shift=shift, digest=digest, cycles=cycles, stalls=stalls,
                   logits=logits)


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """What the hardware keeps of one stage of the last pass."""

    digest: int
    cycles: int
    stalls: int

    WORDS = 4


@dataclasses.dataclass(frozen=True)
class Counters:
    """What the device has counted since it was started."""

    frames_good: int
    frames_bad: int
    frames_out_of_order: int
    frames_resent: int
    beats: int


_REASONS = {
    Status.OUT_OF_RANGE: "an address or a size is out of its range",
    Status.UNKNOWN_SPACE: "it has no such address space, or that is read only",
    Status.BAD_TAPE: "the tape does not make sense to it",
    Status.BAD_TOKEN: "the token is not in the vocabulary, or it is not configured",
    Status.NO_MEMORY: "it has no memory",
}


def reason(status: int) -> str:
    """Return why a command was refused, for a sentence."""
    return _REASONS.get(status, f"for the unknown reason {status}")
