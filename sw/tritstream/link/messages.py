"""Commands and replies: each a table of its fields, for host, gateware and `docs/link.md`."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.link.protocol import NO_STOP, PROTOCOL, Code, LaneFlag, PassFlag, RunFlag, Status
from tritstream.link.table import Table, field, table
from tritstream.stripes import Stripes

__all__ = [
    "ARGUMENTS",
    "OF_MEMORY",
    "RECORD_WORDS",
    "Access",
    "Candidate",
    "Configuration",
    "Counters",
    "Extent",
    "Identity",
    "Lane",
    "Logit",
    "Measures",
    "PassEnd",
    "PassResult",
    "PassToken",
    "Run",
    "StageRecord",
    "Transfer",
    "answer_size",
    "pack_answer",
    "read_answer",
    "reason",
    "record_words",
    "stage_records",
]

RECORD_WORDS = 8
"""Words of a stage's record: `Measures`, and zeros."""


@table
class Identity(Table):
    """What a device says that it is: the reply to IDENTIFY."""

    protocol: int = field("u8", f"version of frames and messages, {PROTOCOL}")
    formats: int = field("u8", "version of the number formats")
    build: bytes = field("8 bytes", "by which a build is known again")
    beat_bytes: int = field("u16", "P, bytes of a beat of one memory")
    groups: int = field("u8", "G, row groups side by side, with a memory each")
    vector_width: int = field("u16", "V, elements per cycle")
    lanes: int = field("u8", "T, tokens that share a pass")
    candidates: int = field("u8", "most logits that the answer to a pass lists")
    max_hidden: int = field("u16", "largest hidden size")
    max_intermediate: int = field("u16", "largest intermediate size")
    max_state: int = field("u32", "elements of recurrent state, layers x hidden")
    max_vocab: int = field("u32", "largest vocabulary")
    memory_units: int = field("u32", "size of the memory, 0 if there is none")
    memory_registers: int = field("u8", "words of the memory's registers, 0: it needs no start")
    clock_hz: int = field("u32", "system clock")
    link_rate: int = field("u32", "bytes per second of the link, 0 if unknown")

    @property
    def stripes(self) -> Stripes:
        """How its memories hold an image."""
        return Stripes(self.beat_bytes, self.groups)

    @property
    def z_base(self) -> int:
        """Address of the vector z in the space of vectors."""
        return self.stripes.padded_columns(self.max_hidden)

    @property
    def slot_words(self) -> int:
        """Words from the state of one slot to that of the next, in the space of states."""
        return 1 << (self.max_state - 1).bit_length()

    @classmethod
    def of(cls, config: BuildConfig, build: bytes | None = None) -> "Identity":
        """Return what a device built from `config` says; its build is known by the digest."""
        return cls(protocol=PROTOCOL, formats=FORMATS.version,
                   build=config.digest() if build is None else build,
                   beat_bytes=config.beat_bytes, groups=config.groups,
                   vector_width=config.vector_width, lanes=config.lanes,
                   candidates=config.candidates, max_hidden=config.max_hidden,
                   max_intermediate=config.max_intermediate, max_state=config.max_state,
                   max_vocab=config.max_vocab, memory_units=config.memory_units,
                   memory_registers=config.memory_registers,
                   clock_hz=config.clock_hz, link_rate=config.link_rate)


@table
class Extent(Table):
    """Arguments of WRITE and DIGEST."""

    unit: int = field("u32", "first unit of the memory")
    units: int = field("u32", "how many")


@table
class Access(Table):
    """Arguments of READ and STORE."""

    space: int = field("u8", "see below")
    address: int = field("u32", "first word")
    words: int = field("u32", "how many")


@table
class Transfer(Table):
    """Arguments of KEEP and RECALL: the fields of an Extent, then those of an Access."""

    unit: int = field("u32", "first unit of the memory")
    units: int = field("u32", "how many")
    space: int = field("u8", "see below")
    address: int = field("u32", "first word")
    words: int = field("u32", "how many")


@table
class Configuration(Table):
    """Arguments of CONFIGURE: where the image lies, and how large its parts are."""

    rows_unit: int = field("u32", "where the embedding rows begin")
    tape_unit: int = field("u32", "where the tape begins")
    lead_units: int = field("u16", "units of the tape before the embedding row is spliced in")
    row_units: int = field("u16", "units of an embedding row")
    vocab: int = field("u32", "number of tokens")
    stop_token: int = field("u32", f"token that ends a run, 0x{NO_STOP:X}: none")


@table
class Run(Table):
    """Arguments of RUN."""

    flags: RunFlag = field("u8", "bit 0: fresh, bit 1: streamed, bit 2: all logits, "
                                 "bit 3: all candidates",
                           default=RunFlag(0))
    token: int = field("u32", "what the first pass is fed")
    count: int = field("u16", "most passes; each behind the first is fed the best candidate of the "
                              "one before. 1 if streamed", default=1)
    lanes: int = field("u8", "tokens that share each pass, a Lane for each follows; 0: one alone",
                       default=0)
    tape_units: int = field("u32", "how much of the tape is played, without the embedding row")
    stages: int = field("u16", "how many stages that are")

    MOST = 65_535

    @classmethod
    def unpack(cls, data: bytes) -> "Run":
        """Inverse of `pack`."""
        run = super().unpack(data)
        return dataclasses.replace(run, flags=RunFlag(run.flags))


@table
class Lane(Table):
    """A token that shares a pass, behind the arguments of a RUN with lanes."""

    flags: LaneFlag = field("u8", "bit 0: fresh, bit 1: follows, bit 2: body", default=LaneFlag(0))
    slot: int = field("u8", "where its state lies", default=0)
    token: int = field("u32", "what it is fed")

    @classmethod
    def unpack(cls, data: bytes) -> "Lane":
        """Inverse of `pack`."""
        lane = super().unpack(data)
        return dataclasses.replace(lane, flags=LaneFlag(lane.flags))


@table
class PassToken(Table):
    """What the answer to a pass says of one of its tokens; its candidates follow."""

    candidates: int = field("u8", "how many follow: 0 if the head was not played")
    mantissa: int = field("u16", "of the logits' scale")
    shift: int = field("u8", "of the logits' scale: logit = acc x mantissa x 2^(10-shift)")
    digest: int = field("u32", "running CRC-32 of all stage vectors")


@table
class PassEnd(Table):
    """End of the answer to a pass."""

    flags: int = field("u8", "bit 0: last pass of this run")
    cycles: int = field("u64", "clock cycles of the pass")
    stalls: int = field("u64", "of these, cycles in which the datapath waited for the tape")


@table
class Candidate(Table):
    """One of the best logits in the answer to a pass."""

    token: int = field("u32", "")
    acc: int = field("i32", "accumulator of its logit")


@table
class Measures(Table):
    """What a pass had measured at the end of a stage: the record of that."""

    digest: int = field("u32", "running CRC-32 of all stage vectors")
    cycles: int = field("u64", "clock cycles since the pass began")
    stalls: int = field("u64", "of these, cycles in which the datapath waited for the tape")


@table
class Logit(Table):
    """A message of its own: one logit, in the order of the vocabulary."""

    acc: int = field("i32", "its accumulator")


@table
class Counters(Table):
    """What the device has counted since it was started."""

    frames_good: int = field("u32", "frames received")
    frames_bad: int = field("u32", "frames dropped: impossible, broken off, or with a wrong CRC")
    frames_out_of_order: int = field("u32", "frames that were not the one expected")
    frames_resent: int = field("u32", "times that frames were sent again")
    beats: int = field("u64", "beats that the accelerator has taken")


ARGUMENTS: dict[Code, type[Table] | None] = {
    Code.IDENTIFY: None,
    Code.WRITE: Extent,
    Code.DIGEST: Extent,
    Code.CONFIGURE: Configuration,
    Code.RUN: Run,
    Code.READ: Access,
    Code.STORE: Access,
    Code.KEEP: Transfer,
    Code.RECALL: Transfer,
}
"""What follows the code of each command."""

OF_MEMORY = frozenset({Code.KEEP, Code.RECALL})
"""Commands that a build without a memory does not know."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassResult:
    """What one pass gave to a token.

    Parameters
    ----------
    token : int
        What it was fed; not part of the message.
    last : bool
        Whether the run ended with it.
    candidates : tuple of (int, int)
        Token and accumulator of the best logits, best first; the best one alone unless all were
        asked for, none if the head was not played.
    mantissa, shift : int
        Scale of the logits.
    digest : int
        CRC-32 of all stage vectors so far; of those of this pass, if several tokens share it.
    cycles, stalls : int
        Clock cycles of the pass, and those spent waiting for the tape; of tokens that share it, the
        first one has them, and the others have 0.
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

    @property
    def best(self) -> int:
        """The most likely next token."""
        return self.candidates[0][0]

    @property
    def scale(self) -> float:
        """What an accumulator is multiplied by to give a logit."""
        return self.mantissa * 2.0 ** (FORMATS.dequant_up - self.shift)


def pack_answer(results: Sequence[PassResult]) -> bytes:
    """Return the answer to a pass, behind code and status 0, of what it gave to its tokens."""
    parts = []
    for result in results:
        parts += [PassToken(candidates=len(result.candidates), mantissa=result.mantissa,
                            shift=result.shift, digest=result.digest).pack(),
                  *(Candidate.STRUCT.pack(*entry) for entry in result.candidates)]
    end = PassEnd(flags=PassFlag.LAST if results[-1].last else 0, cycles=results[0].cycles,
                  stalls=results[0].stalls)
    return b"".join((*parts, end.pack()))


def answer_size(tokens: int, candidates: int = 1) -> int:
    """Return the bytes of the answer to a pass, code and status included.

    Parameters
    ----------
    tokens : int
        That shared it.
    candidates : int
        That each of them has.
    """
    return 2 + tokens * (PassToken.SIZE + candidates * Candidate.SIZE) + PassEnd.SIZE


def row_messages_size(rows: int, row_bytes: int) -> int:
    """Return the bytes of the messages that write embedding rows of a size, and compare them."""
    return rows * (row_bytes + 2 * (1 + Extent.SIZE))


def read_answer(read: Callable[[int], bytes], tokens: Sequence[int]) -> list[PassResult]:
    """Inverse of `pack_answer`.

    Parameters
    ----------
    read : callable
        Returns the next bytes, as many as it is asked for.
    tokens : sequence of int
        What the pass was fed.
    """
    heads = []
    for _ in tokens:
        head = PassToken.unpack(read(PassToken.SIZE))
        heads.append((head, read(head.candidates * Candidate.SIZE)))
    end = PassEnd.unpack(read(PassEnd.SIZE))
    return [PassResult(token=token, last=bool(end.flags & PassFlag.LAST),
                       candidates=tuple(Candidate.STRUCT.iter_unpack(best)),
                       mantissa=head.mantissa, shift=head.shift, digest=head.digest,
                       cycles=0 if n else end.cycles, stalls=0 if n else end.stalls)
            for n, (token, (head, best)) in enumerate(zip(tokens, heads, strict=True))]


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """What one stage of the last pass took, and the digest behind it."""

    digest: int
    cycles: int
    stalls: int


def stage_records(words: np.ndarray) -> list[StageRecord]:
    """Return what each stage took, from the records' words, int32 [stages * RECORD_WORDS].

    The device keeps what the pass had measured at the end of each stage.
    """
    rows = words.astype("<i4").reshape(-1, RECORD_WORDS).tobytes()
    ends = [Measures.unpack(rows[place:place + Measures.SIZE])
            for place in range(0, len(rows), 4 * RECORD_WORDS)]
    start = Measures(digest=0, cycles=0, stalls=0)
    return [StageRecord(end.digest, end.cycles - begin.cycles, end.stalls - begin.stalls)
            for begin, end in itertools.pairwise([start, *ends])]


def record_words(records: list[StageRecord]) -> np.ndarray:
    """Inverse of `stage_records`."""
    rows, cycles, stalls = [], 0, 0
    for record in records:
        cycles, stalls = cycles + record.cycles, stalls + record.stalls
        measures = Measures(digest=record.digest, cycles=cycles, stalls=stalls)
        rows.append(measures.pack().ljust(4 * RECORD_WORDS, b"\0"))
    return np.frombuffer(b"".join(rows), "<i4")


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
