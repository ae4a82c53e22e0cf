"""What the blocks of an accelerator owe each other beside their streams, as assertions."""

from amaranth import *
from amaranth.hdl import Assert

from tritstream_hw.sequencer import COMMANDS

__all__ = ["assert_invariants"]


def assert_invariants(m: Module, accelerator):
    """Assert what must be so in every cycle of an accelerator, whatever comes.

    These arguments about time are nobody's alone: blocks share memories and banks without asking,
    because a stage ends when all that belongs to it is over.

    Parameters
    ----------
    m : Module
        That of the accelerator; gets nothing that a bitstream has.
    accelerator : Accelerator
        Its blocks are its attributes.
    """
    sequencer, quantiser, scalars = (
        accelerator.sequencer, accelerator.quantiser, accelerator.scalars)
    debug, ended = accelerator.debug, sequencer.ended
    under_way = Cat(getattr(sequencer, name).valid for name in COMMANDS if name != "head").any()
    host = Cat(debug.vectors_read.en, debug.vectors_write.en, debug.state_read.en,
               debug.state_write.en, debug.records_read.en)

    held = Signal.like(quantiser.available)
    m.d.sync += held.eq(quantiser.available)
    shrinks = Cat(now < before for now, before in zip(quantiser.available, held, strict=True)).any()

    for broken, rule in (
            (quantiser.reading & sequencer.quantiser.valid,
             "the quantiser reads although the reciprocals are those of the stage before"),
            (shrinks & accelerator.gemv.feeder.running,
             "vectors are forgotten that a product reads"),
            (accelerator.statistics.clear & accelerator.statistics.i.valid,
             "statistics are forgotten while an element comes"),
            (accelerator.statistics.s2_late.any() & scalars.going,
             "a norm is begun before the last square is summed up"),
            (ended & under_way, "a stage ends before its commands do"),
            (ended & ~accelerator.gains.command.ready, "a stage ends while its gains are loaded"),
            (ended & ~quantiser.command.ready, "a stage ends while the quantiser works"),
            (ended & scalars.scales.valid & ~scalars.scales.ready,
             "a stage ends and its scales are left"),
            (host.any() & ~sequencer.idle, "a memory is used by the host while a pass runs")):
        m.d.sync += Assert(~broken, rule)
