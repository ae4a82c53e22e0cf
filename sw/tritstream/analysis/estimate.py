"""Speed of a model on a build, before anything is built, from the cycles of its stages."""

import dataclasses
import math
from collections.abc import Callable

from tritstream.analysis.stage import Limit, StageEstimate, estimate_stage, padding_cycles
from tritstream.build import BuildConfig
from tritstream.image.stages import plans
from tritstream.image.tape import Header, Op, row_bytes
from tritstream.link.frames import MAX_FRAME
from tritstream.link.messages import Run, answer_size, row_messages_size
from tritstream.link.protocol import MAX_PAYLOAD
from tritstream.model.config import ModelConfig

__all__ = ["Estimate", "estimate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A pass of one or several tokens on a build.

    Parameters
    ----------
    tokens : int
        That share the pass.
    stages : tuple of StageEstimate
        In the order of the tape.
    stripe_bytes, clock_hz : int
        Of the build.
    memory_rate : float
        Bytes that the memory delivers per cycle.
    link_rate : int
        Bytes per second of the link; 0: unknown.
    streamed : bool
        Whether the link brings the weights; otherwise they lie in the memory.
    row_bytes : int
        What the link brings of the embedding for each token, the weights of which lie in the
        memory without it; 0: nothing.
    head : bool
        Whether the pass has logits, so that its answer names next tokens.
    """

    tokens: int
    stages: tuple[StageEstimate, ...]
    stripe_bytes: int
    clock_hz: int
    memory_rate: float
    link_rate: int
    streamed: bool
    row_bytes: int
    head: bool

    @property
    def tape_bytes(self) -> int:
        """What a pass reads, the embedding rows included."""
        return self.stripe_bytes * sum(stage.beats for stage in self.stages)

    @property
    def core_cycles(self) -> int:
        """Cycles of a pass if the memory delivers a beat per cycle."""
        return sum(stage.cycles for stage in self.stages)

    @property
    def memory_cycles(self) -> float:
        """Cycles in which the memory delivers what a pass reads."""
        return self.tape_bytes / self.memory_rate

    @property
    def answer_bytes(self) -> int:
        """What the link carries to the host: the answer to a pass of a greedy run, in frames."""
        return _in_frames(answer_size(self.tokens, int(self.head)))

    @property
    def sent_bytes(self) -> int:
        """What the link carries to the device for a pass, in frames; of a greedy run nothing."""
        if self.streamed:
            return self.tape_bytes
        if self.row_bytes:
            return _in_frames(row_messages_size(self.tokens, self.row_bytes) + 1 + Run.SIZE)
        return 0

    @property
    def link_cycles(self) -> float:
        """Cycles in which the link carries both.

        Both at a time, but for rows of tokens that the host knows only from the answer.
        """
        if not self.link_rate:
            return 0.0
        carried = (self.answer_bytes + self.sent_bytes if self._waits_for_answer
                   else max(self.answer_bytes, self.sent_bytes))
        return carried * self.clock_hz / self.link_rate

    @property
    def _waits_for_link(self) -> bool:
        return self.streamed and self.link_rate > 0

    @property
    def _waits_for_answer(self) -> bool:
        """Whether the host sends rows when a pass is over; those of a prompt come meanwhile."""
        return self.row_bytes > 0 and self.head

    @property
    def _played_cycles(self) -> float:
        return max(self.core_cycles, self.memory_cycles)

    @property
    def cycles(self) -> float:
        """Cycles of a pass: a queue of beats in front of the tape reader hides the core's pauses.

        It has to hold what the memory delivers in the longest of them.
        """
        if self._waits_for_answer:
            return self._played_cycles + self.link_cycles
        return max(self._played_cycles, self.link_cycles)

    @property
    def tokens_per_second(self) -> float:
        """What the clock makes of these cycles, of all tokens of the pass."""
        return self.tokens * self.clock_hz / self.cycles

    @property
    def roof(self) -> float:
        """Tokens per second if nothing but reading the tape took time."""
        rate = min(self.memory_rate, self.stripe_bytes) * self.clock_hz
        return self.reads(min(rate, self.link_rate) if self._waits_for_link else rate)

    def reads(self, rate: float) -> float:
        """Tokens per second for which the tape is read at so many bytes per second."""
        return self.tokens * rate / self.tape_bytes

    @property
    def rates(self) -> dict[Limit, float]:
        """Bytes per second that the core takes, and that memory and link deliver.

        The memory is left out if the weights do not lie in it, and a link of unknown speed.
        """
        rates = {Limit.CORE: self.stripe_bytes * self.clock_hz}
        if not self.streamed:
            rates[Limit.MEMORY] = self.memory_rate * self.clock_hz
        if self.link_rate:
            rates[Limit.LINK] = self.link_rate
        return rates

    @property
    def limit(self) -> Limit:
        """What most of a pass's cycles go into."""
        if self.link_cycles > self._played_cycles:
            return Limit.LINK
        if self.memory_cycles > self.core_cycles:
            return Limit.MEMORY
        if all(stage.limit is Limit.PROGRAM for stage in self.stages):
            return Limit.PROGRAM
        spent = dict.fromkeys((Limit.CORE, Limit.ELEMENTS, Limit.TURNAROUND), 0)
        for stage in self.stages:
            most = max(stage.beats, stage.words)
            spent[Limit.CORE if stage.beats >= stage.words else Limit.ELEMENTS] += most
            spent[Limit.TURNAROUND] += max(0, stage.cycles - most)
        return max(spent, key=spent.get)


def _in_frames(size: int) -> int:
    return size + math.ceil(size / MAX_PAYLOAD) * (MAX_FRAME - MAX_PAYLOAD)


def estimate(model: ModelConfig, build: BuildConfig, *, tokens: int = 1, consecutive: bool = False,
             head: bool = True, wide_rows: bool = False, memory_rate: float | None = None,
             streamed: bool = False, rows_sent: bool = False,
             stage_of: Callable[..., StageEstimate] | None = None) -> Estimate:
    """Estimate a pass.

    Parameters
    ----------
    model : ModelConfig
        Its shape.
    build : BuildConfig
        What would be built; its maxima do not matter.
    tokens : int
        That share the pass, at most as many as the build has lanes.
    consecutive : bool
        Whether they are one conversation's, as those of a prompt; else each has its own.
    head : bool
        Whether the pass has logits, which all tokens of a prompt but the last do without.
    wide_rows : bool
        Whether embedding rows have 24 bits an element, as those of a model with outliers.
    memory_rate : float or None
        Bytes per cycle that the memory delivers in the long run; None: a beat.
    streamed : bool
        Whether the weights are sent for every pass.
    rows_sent : bool
        Whether the embedding row of every token is sent, and the other weights are in the memory.
    stage_of : callable or None
        Estimates a stage in place of `estimate_stage`, for a build of another kind.
    """
    sizes = {"hidden": model.hidden, "intermediate": model.intermediate, "vocab": model.vocab}
    stages, pending = [], 0
    for plan in plans(model.layers):
        if plan.op is Op.HEAD and not head:
            continue
        rows, columns = plan.shape(**sizes)
        header = Header(op=plan.op, banks=plan.banks, columns=columns, rows=rows)
        stage = (stage_of or estimate_stage)(plan.name, header, build, wide_rows=wide_rows,
                                             tokens=tokens, consecutive=consecutive)
        stages.append(dataclasses.replace(stage, cycles=stage.cycles + pending))
        pending = (padding_cycles(header, build, wide_rows=wide_rows)
                   if plan.op is Op.EMBED and stage_of is None else 0)
    return Estimate(tokens=tokens, head=head, stages=tuple(stages),
                    stripe_bytes=build.stripe_bytes,
                    clock_hz=build.clock_hz, link_rate=build.link_rate, streamed=streamed,
                    row_bytes=_row_bytes(model, build, wide_rows) if rows_sent else 0,
                    memory_rate=build.stripe_bytes if memory_rate is None else memory_rate)


def _row_bytes(model: ModelConfig, build: BuildConfig, wide: bool) -> int:
    """Return the bytes of an embedding row in the memory."""
    stripes = build.stripes
    return stripes.flat_units(row_bytes(model.hidden, wide=wide)) * stripes.unit_bytes
