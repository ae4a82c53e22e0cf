"""Which block of the accelerator works in a cycle, told by its signals."""

from collections.abc import Callable

from amaranth import *

from tritstream.link.activity import BLOCKS
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.stream.transfer import taken

__all__ = ["SIGNALS", "busy"]

SIGNALS: dict[str, Callable[[Accelerator], Value]] = {
    "tape: header": lambda dut: taken(dut.reader.beats) & dut.reader.collecting,
    "tape: gains": lambda dut: taken(dut.reader.banks),
    "tape: row": lambda dut: taken(dut.reader.row),
    "scalars: reciprocals": lambda dut: ~dut.scalars.reciprocals.coming[0].all(),
    "scalars: scales": lambda dut: dut.scalars.command.valid & ~dut.scalars.scales.valid,
    "quantiser": lambda dut: dut.quantiser.reading,
    "core: trits": lambda dut: taken(dut.gemv.beats),
    "rows: sums": lambda dut: taken(dut.gemv.o),
    "elements, statistics": lambda dut: dut.elements.o.valid,
}
"""What a block takes or gives. Reciprocals are those of a vector that there has been."""


def busy(m: Module, dut: Accelerator) -> Value:
    """Return a bit for each of `BLOCKS`: whether it is busy.

    Parameters
    ----------
    m : Module
        Gets a flip-flop: no signal tells reciprocals that are made from those never asked for.
    dut : Accelerator
        Anywhere in the design.
    """
    reciprocals = Signal()
    first, *others = dut.scalars.reciprocals.coming     # of tokens, of which the first is there
    coming = Cat(first.all(), *(vectors.all() | (lane > dut.scalars.last)
                                for lane, vectors in enumerate(others, 1)))
    with m.If(dut.scalars.start):
        m.d.sync += reciprocals.eq(1)
    with m.Elif(coming.all() | taken(dut.start)):
        m.d.sync += reciprocals.eq(0)

    elements, head = dut.elements, dut.head
    works = {
        # As the sequencer counts them.
        "waiting": dut.reader.stalled,
        "tape": Cat(SIGNALS[f"tape: {part}"](dut) for part in ("header", "gains", "row")).any(),
        "scalars": reciprocals | SIGNALS["scalars: scales"](dut),
        "quantiser": SIGNALS["quantiser"](dut),
        "core": SIGNALS["core: trits"](dut),
        # Where a row takes several cycles, or its logits are ranked, it stands meanwhile.
        "elements": elements.command.valid & (
            (elements.sums.valid & elements.scales.valid)
            | (elements.row.valid & elements.row_scales.valid)),
        "head": head.command.valid & head.sums.valid & head.scales.valid,
    }
    moves = [works[block] for block in ("waiting", "tape", "core", "elements", "head")]
    works["turnaround"] = ~Cat(moves).any()
    return Cat(works[block] for block in BLOCKS)
