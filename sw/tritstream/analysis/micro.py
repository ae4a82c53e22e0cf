"""Cycles of a stage of the small build, whose arithmetic is a program: counts of its loops.

Its parts follow one another, so that a stage takes the sum of what is done once, for each row and
for each row group. The numbers are fitted to the machine's simulator, whose cycles are those of the
gates; shifts and branches take longer for some numbers than for others, and logits that are ranked
longer than others, so that a token can be a hundredth off.
"""

import math

from tritstream.analysis.stage import Limit, StageEstimate
from tritstream.build import BuildConfig
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES, Bank, Header, Op

__all__ = ["MicroStage", "estimate_micro_stage"]

STAGE = 2_000               # header, root of the norm
SCALE = 1_850               # for each projection
QUANTISER = 2_100           # for each vector that the next stage takes: its reciprocal
GROUP = 176                 # for each row group, besides its columns: the way of five sums
GAIN = 219                  # for each row and quantiser: the maximum, and later the activation
ROW = {Op.EMBED: 280, Op.MLGRU: 992, Op.RESIDUAL: 320, Op.GLU: 504, Op.HEAD: 200}
RANKED = 308                # for each logit that is among the best when it comes
GAINS = Bank.GAIN0 | Bank.GAIN1 | Bank.GAIN2


class MicroStage(StageEstimate):
    """A stage whose time is the program's, whatever it does in it."""

    @property
    def limit(self) -> Limit:
        return Limit.PROGRAM


def estimate_micro_stage(name: str, header: Header, build: BuildConfig, *, wide_rows: bool = False,
                         tokens: int = 1, consecutive: bool = False) -> MicroStage:
    """Estimate a stage from the dimensions in its header; see `estimate_stage`."""
    op, rows, stripes = header.op, header.rows, build.stripes
    quantisers = (header.banks & GAINS).value.bit_count()
    cycles = rows * (ROW[op] + quantisers * GAIN) + quantisers * QUANTISER
    beats = stripes.section_units(header) * stripes.unit_stripes
    if op is Op.EMBED:
        size = ROW_PREFIX + rows * (WIDE_BYTES if wide_rows else 1)
        beats += stripes.flat_units(size) * stripes.unit_stripes
    else:
        groups = stripes.blocks(rows) * op.projections
        cycles += STAGE + op.projections * SCALE + groups * (GROUP + header.columns)
    if op is Op.HEAD:
        cycles += round(RANKED * _ranked(rows, build.candidates))
    return MicroStage(name=name, weights=rows * op.projections * header.columns, beats=beats,
                      words=0, cycles=tokens * cycles)


def _ranked(rows: int, candidates: int) -> float:
    """Return how many of so many numbers in any order are among the best so far, on average."""
    return min(rows, candidates) * (1 + math.log(max(1.0, rows / candidates)))
