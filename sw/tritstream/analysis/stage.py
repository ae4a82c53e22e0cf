"""Cycles of a stage, before anything is built: a closed form of the pipeline's timing.

A stage ends when its slowest way is through: the beats of its tape through the core, or the rows
through the element path, either behind what has to be known first (the reciprocals that the
quantiser needs, its vectors, the gains, the scales). Tokens that share a pass go through the core
side by side, and through all else one after the other. The latencies below are those of the blocks'
docstrings. Where one depends on the numbers of a token (how far a maximum is shifted, how many
logits are sorted in, see `ranking`), its mean is taken; so a token of a small model can be some ten
cycles off, and more where it shares its pass.
"""

import dataclasses
import enum
from functools import cached_property
from math import ceil, log2

import numpy as np

from tritstream.analysis.ranking import contender_cycles, ranking_cycles
from tritstream.build import BuildConfig
from tritstream.formats import FORMATS, padded
from tritstream.image.tape import ROW_PREFIX, Header, Op, row_bytes

__all__ = ["Limit", "StageEstimate", "estimate_stage", "padding_cycles"]

ROWS = FORMATS.trits_per_byte
VECTORS = Op.MLGRU.vectors

QUOTIENT = FORMATS.amax_bits + 1    # bits of a quotient
RECIPROCAL = 6.8            # of a reciprocal, but for its digits; its maximum is shifted
ABSENT = 6                  # more, where there are no gains: a maximum of 0 is shifted farthest
ROOT, STACKED = 47, 2       # from the begin to the first token's root; more of two stacked norms
NEXT_ROOT, KEPT = 51, 1     # from a root of a unit to its next; later, where they are kept
SCALE = 5                   # of a scale, but for its digits
QUANTISER = 3.7             # from a reciprocal to the beat that the feeder is told of
GAINS = 3                   # latency of the gain loader
CORE = 5                    # core and serialiser, apart from the adder tree and the last words
RESUMES = -3                # from a block's last word to the beat that its place is for
CHAIN = 5                   # from a row to that of the next token, which goes on from its state
STATISTICS = 6              # from the last element to the maximum and the first sum of squares
RECORD = 3                  # record, next header, begin
SPREAD = 0.4                # standard deviations by which the worst moment of a ranking is worse
HEAD = 2                    # until the ranking has settled, but for the cells of a chain
ROW = 18                    # latency of the embedding row, its scale and the element path
ROW_ENDS = 12               # cycles of what follows the row in which its stage ends, likewise

ELEMENT = {Op.RESIDUAL: 9, Op.GLU: 21, Op.MLGRU: 38}
"""Cycles from a word of rows to its elements."""

SHARED = {Op.EMBED: 6, Op.RESIDUAL: 6, Op.GLU: 6, Op.MLGRU: 7}
"""More of them, statistics included, where rows take several cycles and share multipliers."""


class Limit(enum.StrEnum):
    """What a stage spends most of its cycles on."""

    CORE = "core"               # beats of the tape, one per cycle
    ELEMENTS = "elements"       # rows, E per cycle; of logits those that are ranked take longer
    TURNAROUND = "turnaround"   # what neither hides: scalars, quantiser, pipelines
    MEMORY = "memory"           # beats that the memory does not bring in time
    PROGRAM = "program"         # of a build whose arithmetic is one
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
        Stripes of its section of the tape.
    words : int
        Words of rows, and groups that are collected before; cycles of the element path.
    cycles : int
        From the record of the stage before to its own, if the memory delivers a beat per cycle.
    scalars : int
        Of these, until the scales are there; none in the embedding stage.
    """

    name: str
    weights: int
    beats: int
    words: int
    cycles: int
    scalars: int = 0

    @property
    def limit(self) -> Limit:
        """What most of its cycles go into."""
        most = max(self.beats, self.words)
        if self.cycles > 2 * most:
            return Limit.TURNAROUND
        return Limit.CORE if self.beats >= self.words else Limit.ELEMENTS


def estimate_stage(name: str, header: Header, build: BuildConfig, *, wide_rows: bool = False,
                   tokens: int = 1, consecutive: bool = False) -> StageEstimate:
    """Estimate a stage from the dimensions in its header.

    Parameters
    ----------
    name : str
        Of the stage.
    header : Header
        Operation, banks, rows and columns.
    build, wide_rows, tokens, consecutive
        As those of `estimate`.
    """
    if header.op is Op.EMBED:
        return _embed(name, header, build, wide_rows, tokens)
    product = _Product(header, build, tokens, consecutive)
    return StageEstimate(name=name, weights=header.rows * header.op.projections * header.columns,
                         beats=_section_stripes(header, build), words=product.emits,
                         cycles=product.cycles + _from_word(header.op, build),
                         scalars=product.scales)


@dataclasses.dataclass(frozen=True)
class _Product:
    """Timing of a stage that multiplies. Its cycles count from where the stage begins."""

    header: Header
    build: BuildConfig
    tokens: int
    consecutive: bool

    @property
    def cycles(self) -> int:
        """To the last word of rows: of what it may have to wait for, that which takes longest."""
        return max(self._by_beats, self._by_words, self._by_places)

    @property
    def _by_beats(self) -> int:
        """The core takes a beat per cycle."""
        return self._first_beat + self._body - 1 + self._into_core + self._last_words

    @property
    def _by_words(self) -> int:
        """Words leave without a pause from the first on."""
        return self._first_row + self.emits - self._collected - 1

    @property
    def _by_places(self) -> int:
        """The core's queue is full until a block leaves it, and its beats follow from then on.

        Of the places one is held back, and of a block all groups but the last are collected: so
        many groups are worked ahead of the block.
        """
        groups = self._block_groups
        ahead = (1 << (self._into_core - 1).bit_length()) - 2 + groups
        service, variance = self._service
        leaves = np.cumsum(service) - self._collected + SPREAD * np.sqrt(np.cumsum(variance))
        late = leaves - groups * self._group * np.arange(len(service))
        latest = round(late[self._without_word + self._first_waits:].max(
            initial=-ahead * self._group))
        return (self._first_row + latest + RESUMES + self._body - ahead * self._group
                + self._into_core + self._last_words)

    @property
    def _first_row(self) -> int:
        """When the first word of rows leaves: it is there, and its scales are."""
        groups = (self._without_word + 1) * self._block_groups
        return max(self.scales, self._first_beat + groups * self._group + self._into_core)

    @property
    def emits(self) -> int:
        """Cycles of rows that leave the core, a word per cycle, and of groups collected before."""
        return round(self._service[0].sum())

    @cached_property
    def _service(self) -> tuple[np.ndarray, np.ndarray]:
        """Cycles in which blocks side by side leave the core, as above, and their variance."""
        if self._ranks:
            cycles, spread = ranking_cycles(
                self.header.rows, self._words, block=self._block, tokens=self.tokens,
                candidates=self.build.candidates, at_once=self.build.whole_words)
            return (self._side_by_side(cycles) + self._block_groups - 1,
                    self._side_by_side(spread))
        cycles = self._words
        if self.header.op is Op.HEAD:
            cycles = contender_cycles(self.header.rows, width=self.build.element_width,
                                      block=self._block, candidates=self.build.candidates)
        cycles = self._side_by_side(cycles)
        if self._shared:                # groups are collected meanwhile
            cycles = self.build.element_cycles * cycles
        else:
            cycles = cycles + self._block_groups - 1
        return cycles, np.zeros(len(cycles))

    @property
    def _collected(self) -> int:
        """Cycles of rows that are kept, and of groups collected, before the first row leaves."""
        if self._shared:
            return 0
        kept = round(self._service[0][:self._without_word].sum())
        blocks = min(1 + self._first_waits, len(self._service[0]))
        return kept + blocks * (self._block_groups - 1)

    @property
    def _without_word(self) -> int:
        """Blocks before the first whole word, of which nothing has to wait for the scales."""
        if not self.build.whole_words:
            return 0
        return ceil(min(self.build.element_width, self.header.rows) / self._block) - 1

    @property
    def _first_waits(self) -> bool:
        """Whether a first block has left the core before the scales are there, as one word."""
        first = int(self._side_by_side(self._words)[self._without_word])
        return not self._shared and first == 1

    @property
    def _shared(self) -> bool:
        """Whether rows take several cycles each, which logits do not."""
        return self.header.op is not Op.HEAD and self.build.element_cycles > 1

    @property
    def _joins(self) -> bool:
        """Whether groups of an only projection leave as one block, in whole words."""
        return self.build.whole_words and self.header.op.projections == 1

    @property
    def _block_groups(self) -> int:
        """Groups that leave the core as one block."""
        return VECTORS if self._joins else self.header.op.projections

    @property
    def _block(self) -> int:
        """Rows that leave the core as one block: five, or of an only token all side by side."""
        if self._joins:
            return VECTORS * ROWS
        return ROWS * self.build.groups if self.build.lanes == 1 else ROWS

    def _side_by_side(self, of_blocks: np.ndarray) -> np.ndarray:
        """Sums of what each block has over those that are side by side."""
        sides = max(1, ROWS * self.build.groups // self._block)
        return np.add.reduceat(of_blocks, np.arange(0, len(of_blocks), sides))

    @property
    def _last_words(self) -> int:
        """Cycles of the words of the last blocks; the first waits for its turn."""
        words, cycles = int(self._side_by_side(self._words)[-1]), self.build.element_cycles
        return cycles * (words - 1) + 1 + cycles // 2 if self._shared else words

    @property
    def _ranks(self) -> bool:
        """Whether logits are sorted into lists, which is slower than they come."""
        return self.header.op is Op.HEAD and _in_lists(self.build)

    @property
    def _body(self) -> int:
        """Stripes of all row groups."""
        stripes = self.build.stripes
        return stripes.body_units(self.header) * stripes.unit_stripes

    @property
    def _group(self) -> int:
        """Beats of a row group, in each memory."""
        return self.build.stripes.group_stripes(self.header.columns)

    @property
    def _into_core(self) -> int:
        return CORE + int(log2(self.build.beat_bytes))

    @property
    def _digits(self) -> int:
        """Cycles of a quotient."""
        return QUOTIENT // self.build.digit_bits

    @property
    def _serial(self) -> int:
        """Projections whose scalars one unit makes one after the other."""
        return VECTORS // self.build.scalar_units

    @property
    def _first_beat(self) -> int:
        """When beats are taken from then on without a pause: all vectors are there in time.

        The quantiser makes V elements per cycle and the core takes P, so it has to be ahead; the
        vectors of the last token are those that count.
        """
        vectors = self.header.op.vectors
        words = self._group * self.build.beat_bytes // self.build.vector_width
        reciprocal = RECIPROCAL + self._digits
        step = max(words, reciprocal) if self._serial > 1 and vectors > 1 else words
        of_token = max((vectors - 1) * step + words, self._serial * reciprocal)
        last = reciprocal - 1 + (self.tokens - 1) * of_token
        ahead = (vectors - 1) * step + words - vectors * self._group
        return max(_gain_cycles(self.header, self.build), round(last + QUANTISER + ahead))

    @property
    def scales(self) -> int:
        """When the first row may be dequantised: the scales of all tokens are there.

        They are made token by token, once there are all reciprocals and the token's root.
        """
        made = min(self.header.op.projections, self._serial)
        absent = max(1, self._serial - 1) if self.header.op.reads_z else 0
        reciprocals = self._serial * (RECIPROCAL + self._digits) + ABSENT * absent
        scales = made * (SCALE + self._digits) + self._serial - made
        stacked = STACKED * self.header.op.reads_z
        made_at = self.tokens * reciprocals - 1
        for token in range(self.tokens):
            turn = token // self.build.root_units
            root = ROOT + stacked + turn * (NEXT_ROOT + stacked) + KEPT * (self.build.lanes > 1)
            made_at = max(made_at + (token > 0), root) + scales
        return round(made_at)

    @cached_property
    def _words(self) -> np.ndarray:
        """Cycles of the words of each block of rows, of all tokens.

        A word may belong to two blocks. Or it comes when it is whole; if none is, that takes a
        cycle, too.
        """
        width, rows = self.build.element_width, self.header.rows
        first = np.arange(0, rows, self._block)
        behind = np.minimum(first + self._block, rows)
        words = (behind - 1) // width + 1 - first // width
        if self.build.whole_words:
            words[:-1] = (behind // width - first // width)[:-1]
        chained = self.consecutive and self.header.op is Op.MLGRU
        later = np.where(words > 0, np.maximum(words, CHAIN), 1) if chained else words
        return np.maximum(words, 1) + (self.tokens - 1) * np.maximum(later, 1)


def _embed(name: str, header: Header, build: BuildConfig, wide_rows: bool,
           tokens: int) -> StageEstimate:
    """The embedding rows, of which E bytes are taken per cycle, and a beat in one in between."""
    count, words = row_bytes(header.rows, wide=wide_rows), ceil(header.rows / build.element_width)
    elements = ROW_PREFIX // _row_rate(build) + build.element_cycles * words

    def of_row(size):
        return max(ceil(size / _row_rate(build)) + ceil(size / build.flat_bytes), elements)

    stripes = build.stripes
    cycles = (_gain_cycles(header, build) + stripes.unit_stripes + of_row(count)
              + (tokens - 1) * of_row(_padded_row(count, build)) + ROW
              + int(log2(build.element_width)) + _shared_cycles(header.op, build))
    beats = (_section_stripes(header, build)
             + tokens * stripes.flat_units(count) * stripes.unit_stripes)
    return StageEstimate(name=name, weights=0, beats=beats, words=tokens * words, cycles=cycles)


def padding_cycles(header: Header, build: BuildConfig, *, wide_rows: bool) -> int:
    """Cycles by which the rest of the row's padding, and the next header, hold up the next stage.

    Of the padding a chunk is taken per cycle, and its beats in one each in between.
    """
    count = row_bytes(header.rows, wide=wide_rows)
    padded_row = _padded_row(count, build)
    chunks = (padded_row - count) // _row_rate(build)
    beats = padded_row // build.flat_bytes - ceil(count / build.flat_bytes)
    ends = ROW_ENDS + int(log2(build.element_width)) + _shared_cycles(header.op, build)
    return max(0, chunks + beats + build.stripes.unit_stripes - ends)


def _section_stripes(header: Header, build: BuildConfig) -> int:
    return build.stripes.section_units(header) * build.stripes.unit_stripes


def _padded_row(count: int, build: BuildConfig) -> int:
    """Bytes of an embedding row of so many, with the padding that is taken."""
    return padded(count) if build.stripes.unit_stripes > 1 else count


def _row_rate(build: BuildConfig) -> int:
    """Bytes of a row that are taken per cycle, no more than its prefix has."""
    return min(build.element_width, ROW_PREFIX)


def _gain_cycles(header: Header, build: BuildConfig) -> int:
    """Cycles in which the gains are taken: a stripe each, or `V` gains."""
    if not header.banks:
        return 0
    chunk = build.flat_bytes // build.gain_chunks
    size = FORMATS.gain_bits // 8 * header.rows
    if build.stripes.unit_stripes > 1:
        size = padded(size)
    return header.banks.value.bit_count() * ceil(size / chunk) + GAINS


def _from_word(op: Op, build: BuildConfig) -> int:
    """Cycles from the last word of rows to the record."""
    if op is Op.HEAD:
        return HEAD + (0 if _in_lists(build) else build.candidates) + RECORD
    return (ELEMENT[op] + _shared_cycles(op, build) + STATISTICS + int(log2(build.element_width))
            + RECORD)


def _in_lists(build: BuildConfig) -> bool:
    """Whether logits are ranked in lists; else a chain takes one per cycle."""
    return build.element_width == 1 or build.lanes > 1


def _shared_cycles(op: Op, build: BuildConfig) -> int:
    return SHARED[op] if build.element_cycles > 1 else 0
