"""What the blocks of a simulated device do while a pass runs."""

import collections
import dataclasses

__all__ = ["BLOCKS", "Run", "StageActivity"]

BLOCKS = {
    "waiting": "a beat of the tape is wanted, and none is there",
    "tape": "a beat of a header, of gains or of an embedding row is taken",
    "scalars": "reciprocals or scales are made",
    "quantiser": "elements become int8",
    "core": "a beat of trits is taken",
    "elements": "rows pass through dequantiser, residual, MLGRU or GLU",
    "head": "logits are ranked",
    "turnaround": "no beat is taken or waited for, and no row passes",
}
"""When each is busy, in the order in which a beat and a row pass them; the last is none of them."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A time in which a block was busy, with no pause of more than a few cycles.

    Parameters
    ----------
    block : str
        One of `BLOCKS`.
    begin, end : int
        Its first cycle and the one behind its last, since the pass has begun.
    busy : int
        Cycles in between in which the block was busy.
    """

    block: str
    begin: int
    end: int
    busy: int


@dataclasses.dataclass(frozen=True)
class StageActivity:
    """A stage of a pass.

    Parameters
    ----------
    begin, end : int
        Its first cycle and the one behind its last, since the pass has begun.
    runs : tuple of Run
        Of all blocks, those that began first in front; none goes on into the next stage.
    """

    begin: int
    end: int
    runs: tuple[Run, ...]

    @property
    def busy(self) -> dict[str, int]:
        """Busy cycles of each block."""
        found = collections.Counter(dict.fromkeys(BLOCKS, 0))
        for run in self.runs:
            found[run.block] += run.busy
        return dict(found)
