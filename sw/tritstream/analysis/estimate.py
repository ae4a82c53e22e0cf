"""Cycles of a token, before anything is built: a closed form of the pipeline's timing.

A stage ends when its slowest way is through: the beats of its tape through the core, or the rows
through the element path, either behind what has to be known first (the reciprocal that the
quantiser needs, its first vectors, the gains, the scales). The latencies below are those of the
blocks' docstrings. Where one depends on the numbers of a token (how far a maximum is shifted, how
many steps a root takes), its mean is taken; so a token of a small model can be some ten cycles off.
"""

import dataclasses
import enum
from math import ceil, log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, HEADER_BYTES, UNIT, padded
from tritstream.image.stages import plans
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES, Header, Op, blocks, units_of
from tritstream.model.config import ModelConfig

__all__ = ["Estimate", "Limit", "StageEstimate", "estimate", "estimate_stage"]

ROWS = FORMATS.trits_per_byte

BEGIN = 4                   # to the first beat of a stage that has nothing to wait for
MAXIMUM = 0                 # a stage's begin to the reciprocal, but for its digits
QUOTIENT = FORMATS.amax_bits + 1    # bits of a quotient
RECIPROCAL = 5              # cycles of one, apart from its digits
QUANTISER = 12              # latency of the quantiser, and of what tells the feeder of its beats
GAINS = 4                   # latency of the gain loader
CORE = 5                    # core and serialiser, apart from the adder tree and the last words
STATISTICS = 10             # from the last element to the maximum and the sum of squares
RECORD = 3                  # record, next header, begin
CONTENDERS = 16             # words of the head that wait until one of two logits is ranked
HEAD = 18                   # until the ranking has settled
ROW = 22                    # latency of the embedding row, its scale and the element path
ROW_ENDS = 17               # chunks of the row's padding that are taken before its stage ends

SCALES = 54
"""Cycles until the first row may be dequantised: root and product, and a ratio in between."""

ELEMENT = {Op.RESIDUAL: 9, Op.GLU: 21, Op.MLGRU: 38}
"""Cycles from a word of rows to its elements."""

SHARED = {Op.EMBED: 1, Op.RESIDUAL: 1, Op.GLU: 1, Op.MLGRU: 2}
"""More of them, statistics included, where rows take several cycles and share multipliers."""


class Limit(enum.StrEnum):
    """What a stage spends most of its cycles on."""

    CORE = "core"               # beats of the tape, one per cycle
    ELEMENTS = "elements"       # rows, E per cycle
    TURNAROUND = "turnaround"   # what neither hides: scalars, quantiser, pipelines
    MEMORY = "memory"           # beats that the memory does not bring in time
    LINK = "link"               # weights that are sent for every token


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """One stage.

    Parameters
    ----------
    name : str
        As messages call it.
    weights : int
        Ternary weights.
    beats : int
        Of its section of the tape.
    words : int
        Words of rows, and groups that are collected before; cycles of the element path.
    cycles : int
        From the record of the stage before to its own, if the memory delivers a beat per cycle.
    """

    name: str
    weights: int
    beats: int
    words: int
    cycles: int

    @property
    def limit(self) -> Limit:
        """What most of its cycles go into."""
        most = max(self.beats, self.words)
        if self.cycles > 2 * most:
            return Limit.TURNAROUND
        return Limit.CORE if self.beats >= self.words else Limit.ELEMENTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A token on a build.

    Parameters
    ----------
    stages : tuple of StageEstimate
        In the order of the tape.
    beat_bytes, clock_hz : int
        Of the build.
    memory_rate : float
        Bytes that the memory delivers per cycle.
    link_rate : int
        Bytes per second of the link; 0: unknown.
    streamed : bool
        Whether the link brings the weights; otherwise they lie in the memory.
    """

    stages: tuple[StageEstimate, ...]
    beat_bytes: int
    clock_hz: int
    memory_rate: float
    link_rate: int
    streamed: bool

    @property
    def tape_bytes(self) -> int:
        """What a token reads, its embedding row included."""
        return self.beat_bytes * sum(stage.beats for stage in self.stages)

    @property
    def core_cycles(self) -> int:
        """Cycles of a token if the memory delivers a beat per cycle."""
        return sum(stage.cycles for stage in self.stages)

    @property
    def memory_cycles(self) -> float:
        """Cycles in which the memory delivers what a token reads."""
        return self.tape_bytes / self.memory_rate

    @property
    def link_cycles(self) -> float:
        """Cycles in which the link does, if it has to."""
        return self.tape_bytes * self.clock_hz / self.link_rate if self._waits_for_link else 0.0

    @property
    def _waits_for_link(self) -> bool:
        return self.streamed and self.link_rate > 0

    @property
    def cycles(self) -> float:
        """Cycles of a token: a queue of beats in front of the tape reader hides the core's pauses.

        It has to hold what the memory delivers in the longest of them.
        """
        return max(self.core_cycles, self.memory_cycles, self.link_cycles)

    @property
    def tokens_per_second(self) -> float:
        """What the clock makes of these cycles."""
        return self.clock_hz / self.cycles

    @property
    def roof(self) -> float:
        """Tokens per second if nothing but reading the tape took time."""
        rate = min(self.memory_rate, self.beat_bytes) * self.clock_hz
        return (min(rate, self.link_rate) if self._waits_for_link else rate) / self.tape_bytes

    @property
    def rates(self) -> dict[Limit, float]:
        """Bytes per second that the core takes, and that memory and link deliver.

        The memory is left out if the weights do not lie in it, and a link of unknown speed.
        """
        rates = {Limit.CORE: self.beat_bytes * self.clock_hz}
        if not self.streamed:
            rates[Limit.MEMORY] = self.memory_rate * self.clock_hz
        if self.link_rate:
            rates[Limit.LINK] = self.link_rate
        return rates

    @property
    def limit(self) -> Limit:
        """What most of a token's cycles go into."""
        if self.cycles > self.core_cycles:
            return Limit.LINK if self.cycles == self.link_cycles else Limit.MEMORY
        spent = dict.fromkeys((Limit.CORE, Limit.ELEMENTS, Limit.TURNAROUND), 0)
        for stage in self.stages:
            most = max(stage.beats, stage.words)
            spent[Limit.CORE if stage.beats >= stage.words else Limit.ELEMENTS] += most
            spent[Limit.TURNAROUND] += max(0, stage.cycles - most)
        return max(spent, key=spent.get)


def estimate(model: ModelConfig, build: BuildConfig, *, wide_rows: bool = False,
             memory_rate: float | None = None, streamed: bool = False) -> Estimate:
    """Estimate a token with its head.

    Parameters
    ----------
    model : ModelConfig
        Its shape.
    build : BuildConfig
        What would be built; its maxima do not matter.
    wide_rows : bool
        Whether embedding rows have 24 bits an element, as those of a model with outliers.
    memory_rate : float or None
        Bytes per cycle that the memory delivers in the long run; None: a beat.
    streamed : bool
        Whether the weights are sent for every token.
    """
    sizes = {"hidden": model.hidden, "intermediate": model.intermediate, "vocab": model.vocab}
    stages, pending = [], 0
    for plan in plans(model.layers):
        rows, columns = plan.shape(**sizes)
        header = Header(op=plan.op, banks=plan.banks, columns=columns, rows=rows)
        stage = estimate_stage(plan.name, header, build, wide_rows=wide_rows)
        stages.append(dataclasses.replace(stage, cycles=stage.cycles + pending))
        pending = _padding_cycles(header, build, wide_rows) if plan.op is Op.EMBED else 0
    return Estimate(stages=tuple(stages), beat_bytes=build.beat_bytes, clock_hz=build.clock_hz,
                    memory_rate=build.beat_bytes if memory_rate is None else memory_rate,
                    link_rate=build.link_rate, streamed=streamed)


def estimate_stage(name: str, header: Header, build: BuildConfig, *,
                   wide_rows: bool = False) -> StageEstimate:
    """Estimate a stage from the dimensions in its header, see `estimate`."""
    if header.op is Op.EMBED:
        return _embed(name, header, build, wide_rows)
    width, projections = build.beat_bytes, header.op.projections
    body, group = header.body_bytes // width, header.group_bytes // width
    into_core = CORE + int(log2(width))

    # The quantiser makes V elements per cycle and the core takes P: it has to be so far ahead that
    # every beat finds its elements.
    words = header.group_bytes // build.vector_width
    behind = max(0, words - group) * header.op.vectors or words - group
    reads = max(BEGIN, MAXIMUM + QUOTIENT // build.digit_bits)
    first = max(_gain_cycles(header, build), reads + QUANTISER + behind, BEGIN)

    # Rows leave the core in words; a block's groups but the last are collected before.
    word_count, last_words = _words(header.rows, build.element_width)
    emits = word_count + blocks(header.rows) * (projections - 1)
    if header.op is not Op.HEAD and build.element_cycles > 1:
        # They are collected meanwhile, and the first word waits for its turn.
        emits = build.element_cycles * word_count
        last_words = build.element_cycles * (last_words - 1) + 1 + build.element_cycles // 2
    if header.op is Op.HEAD and build.element_width > 1 and emits > body:
        emits += CONTENDERS
    # So many groups are worked ahead while the scales are not there.
    places = (1 << (into_core - 1).bit_length()) + projections
    scales = SCALES + QUOTIENT // build.digit_bits
    if build.scalar_units == 1:     # makes all reciprocals first
        scales += (Op.MLGRU.vectors - 1) * (QUOTIENT // build.digit_bits + RECIPROCAL)
    first_row = max(scales, first + projections * group + into_core)
    cycles = max(first + body - 1 + into_core + last_words,
                 scales + body - places * group + into_core + last_words,
                 first_row + emits)
    return StageEstimate(name=name, weights=header.rows * projections * header.columns,
                         beats=header.units * UNIT // width, words=emits,
                         cycles=cycles + _from_word(header.op, build))


def _words(rows: int, width: int) -> tuple[int, int]:
    """Words of `E` rows of all blocks of five, and of the last; a word may belong to two."""
    counts = [(min(first + ROWS, rows) - 1) // width - first // width + 1
              for first in range(0, rows, ROWS)]
    return sum(counts), counts[-1]


def _embed(name: str, header: Header, build: BuildConfig, wide_rows: bool) -> StageEstimate:
    """The embedding row, of which E bytes are taken per cycle, and a beat in one in between."""
    count, words = _row_bytes(header, wide_rows), ceil(header.rows / build.element_width)
    prefix, taken = ROW_PREFIX // build.element_width, ceil(count / build.element_width)
    takes = max(taken + ceil(count / build.beat_bytes), prefix + build.element_cycles * words)
    cycles = (_gain_cycles(header, build) + ceil(HEADER_BYTES / build.beat_bytes) + takes + ROW
              + (SHARED[Op.EMBED] if build.element_cycles > 1 else 0))
    beats = (header.units + units_of(count)) * UNIT // build.beat_bytes
    return StageEstimate(name=name, weights=0, beats=beats, words=words, cycles=cycles)


def _padding_cycles(header: Header, build: BuildConfig, wide_rows: bool) -> int:
    """Cycles of the stage behind the row in which the rest of the row's padding is taken."""
    count = _row_bytes(header, wide_rows)
    rest = max(0, (padded(count) - count) // build.element_width - ROW_ENDS)
    return rest + ceil(HEADER_BYTES / build.beat_bytes) if rest else 0


def _row_bytes(header: Header, wide_rows: bool) -> int:
    return ROW_PREFIX + header.rows * (WIDE_BYTES if wide_rows else 1)


def _gain_cycles(header: Header, build: BuildConfig) -> int:
    """Cycles in which the gains are taken: a beat each, or 2 V bytes."""
    if not header.bank_bytes:
        return 0
    return header.bank_bytes // min(build.beat_bytes, 2 * build.vector_width) + GAINS


def _from_word(op: Op, build: BuildConfig) -> int:
    """Cycles from the last word of rows to the record."""
    if op is Op.HEAD:
        return HEAD + RECORD
    shared = SHARED[op] if build.element_cycles > 1 else 0
    return ELEMENT[op] + shared + STATISTICS + int(log2(build.element_width)) + RECORD
