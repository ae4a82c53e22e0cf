"""Cycles of a token, before anything is built: a closed form of the pipeline's timing.

A stage ends when its slowest way is through: the beats of its tape through the core, or the row
sums through the element path, either behind what has to be known first (the reciprocal that the
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
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES, Header, Op, units_of
from tritstream.model.config import ModelConfig

__all__ = ["Estimate", "Limit", "StageEstimate", "estimate", "estimate_stage"]

ROWS = FORMATS.trits_per_byte

BEGIN = 4                   # to the first beat of a stage that has nothing to wait for
RECIPROCAL = 25             # maximum normalised and divided, from the stage's begin
QUANTISER = 12              # latency of the quantiser, and of what tells the feeder of its beats
GAINS = 4                   # latency of the gain loader
CORE = 5                    # core and serialiser, apart from the adder tree and the last rows
STATISTICS = 10             # from the last element to the maximum and the sum of squares
RECORD = 3                  # record, next header, begin
HEAD = 18                   # until the ranking has settled
ROW = 28                    # latency of the embedding row, its scale and the element path
ROW_ENDS = 17               # bytes of the row's padding that are taken before its stage ends

SCALES = {Op.MLGRU: 76, Op.RESIDUAL: 83, Op.GLU: 83, Op.HEAD: 83}
"""Cycles until the first row sum may be dequantised: root, ratio and product, one after the other.
"""

LAST_OPERAND = {Op.MLGRU: 23, Op.RESIDUAL: 9, Op.GLU: 11}
"""Cycles from a row's last sum to its element, if the operands that meet it have been there."""

FIRST_OPERAND = {Op.MLGRU: 39, Op.RESIDUAL: 0, Op.GLU: 23}
"""Cycles to the element from the sum that takes longest: that of f, or of a."""


class Limit(enum.StrEnum):
    """What a stage spends most of its cycles on."""

    CORE = "core"               # beats of the tape, one per cycle
    ELEMENTS = "elements"       # row sums, one per cycle
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
    sums : int
        Row sums, or elements of the embedding row.
    cycles : int
        From the record of the stage before to its own, if the memory delivers a beat per cycle.
    """

    name: str
    weights: int
    beats: int
    sums: int
    cycles: int

    @property
    def limit(self) -> Limit:
        """What most of its cycles go into."""
        most = max(self.beats, self.sums)
        if self.cycles > 2 * most:
            return Limit.TURNAROUND
        return Limit.CORE if self.beats >= self.sums else Limit.ELEMENTS


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
    link_rate : int or None
        Bytes per second of the link that brings the weights; None: they lie in the memory.
    """

    stages: tuple[StageEstimate, ...]
    beat_bytes: int
    clock_hz: int
    memory_rate: float
    link_rate: int | None

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
        return self.tape_bytes * self.clock_hz / self.link_rate if self.link_rate else 0.0

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
        return min(rate, self.link_rate or rate) / self.tape_bytes

    @property
    def limit(self) -> Limit:
        """What most of a token's cycles go into."""
        if self.cycles > self.core_cycles:
            return Limit.LINK if self.cycles == self.link_cycles else Limit.MEMORY
        spent = dict.fromkeys((Limit.CORE, Limit.ELEMENTS, Limit.TURNAROUND), 0)
        for stage in self.stages:
            most = max(stage.beats, stage.sums)
            spent[Limit.CORE if stage.beats >= stage.sums else Limit.ELEMENTS] += most
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
                    link_rate=build.link_rate if streamed else None)


def estimate_stage(name: str, header: Header, build: BuildConfig, *,
                   wide_rows: bool = False) -> StageEstimate:
    """Estimate a stage from the dimensions in its header, see `estimate`."""
    if header.op is Op.EMBED:
        return _embed(name, header, build, wide_rows)
    width, sums = build.beat_bytes, header.rows * header.op.projections
    body, group = header.body_bytes // width, header.group_bytes // width
    tree = int(log2(width))

    # The quantiser makes V elements per cycle and the core takes P: it has to be so far ahead that
    # every beat finds its elements.
    words = header.group_bytes // build.vector_width
    behind = max(0, words - group) * header.op.vectors or words - group
    first = max(_gain_cycles(header, build), RECIPROCAL + QUANTISER + behind, BEGIN)

    rows = (header.rows - 1) % ROWS + 1         # of the last block
    cycles = first + body - 1 + CORE + tree + rows + _from_sum(header.op, max(group, rows))
    first_sum = max(SCALES[header.op], first + group + CORE + tree)
    cycles = max(cycles, first_sum + sums + _from_sum(header.op, rows))
    return StageEstimate(name=name, weights=sums * header.columns,
                         beats=header.units * UNIT // width, sums=sums, cycles=cycles)


def _embed(name: str, header: Header, build: BuildConfig, wide_rows: bool) -> StageEstimate:
    """The embedding row, of which a byte is taken per cycle."""
    count = _row_bytes(header, wide_rows)
    cycles = (_gain_cycles(header, build) + ceil(HEADER_BYTES / build.beat_bytes)
              + count + ceil(count / build.beat_bytes) + ROW)
    beats = (header.units + units_of(count)) * UNIT // build.beat_bytes
    return StageEstimate(name=name, weights=0, beats=beats, sums=header.rows, cycles=cycles)


def _padding_cycles(header: Header, build: BuildConfig, wide_rows: bool) -> int:
    """Cycles of the stage behind the row in which the rest of the row's padding is taken."""
    count = _row_bytes(header, wide_rows)
    rest = max(0, padded(count) - count - ROW_ENDS)
    return rest + ceil(HEADER_BYTES / build.beat_bytes) if rest else 0


def _row_bytes(header: Header, wide_rows: bool) -> int:
    return ROW_PREFIX + header.rows * (WIDE_BYTES if wide_rows else 1)


def _gain_cycles(header: Header, build: BuildConfig) -> int:
    """Cycles in which the gains are taken: a beat each, or 2 V bytes."""
    if not header.bank_bytes:
        return 0
    return header.bank_bytes // min(build.beat_bytes, 2 * build.vector_width) + GAINS


def _from_sum(op: Op, distance: int) -> int:
    """Cycles from the last row sum to the record; the operand before came `distance` earlier."""
    if op is Op.HEAD:
        return HEAD + RECORD
    return max(LAST_OPERAND[op], FIRST_OPERAND[op] - distance) + STATISTICS + RECORD
