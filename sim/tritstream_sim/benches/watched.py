"""The accelerator, held to what its blocks owe each other beside their streams."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.sequencer import COMMANDS

__all__ = ["RULES", "WatchedAccelerator"]


def _taken_early(accelerator):
    """Commands that have to be over when the stage is; that of the head ends it."""
    return Cat(getattr(accelerator.sequencer, name).valid
               for name in COMMANDS if name != "head").any()


def _used_by_host(accelerator):
    """A port for debugging is enabled."""
    vectors, state = accelerator.vectors, accelerator.state
    return Cat(port.en for port in (vectors.debug_read, vectors.debug_write, state.debug_read,
                                    state.debug_write, accelerator.sequencer.records)).any()


RULES = {
    "a row of x is read while the quantiser has the vector memory":
        lambda a: a.vectors.rows.en & a.vectors.words.en,
    "gains of a row are read while the quantiser has the banks":
        lambda a: a.gains.rows.en & a.gains.words.en,
    "the quantiser reads although the reciprocals are those of the stage before":
        lambda a: a.quantiser.reading & a.sequencer.quantiser.valid,
    "statistics are forgotten while an element comes":
        lambda a: a.statistics.clear & a.statistics.i.valid,
    "an element and a logit come to the digest in the same cycle":
        lambda a: a.elements.o.valid & a.head.ranked.valid,
    "an element comes without a command":
        lambda a: a.elements.o.valid & ~a.elements.command.valid,
    "a stage ends before its commands do":
        lambda a: a.sequencer.ended & _taken_early(a),
    "a stage ends while its gains are loaded":
        lambda a: a.sequencer.ended & ~a.gains.command.ready,
    "a stage ends while the quantiser works":
        lambda a: a.sequencer.ended & ~a.quantiser.command.ready,
    "a stage ends and its scales are left":
        lambda a: a.sequencer.ended & a.scalars.scales.valid & ~a.scalars.scales.ready,
    "a memory is used by the host while a pass runs":
        lambda a: ~a.sequencer.idle & _used_by_host(a),
}
"""What must never be the case, as functions of the accelerator."""


class WatchedAccelerator(wiring.Component):
    """An accelerator with one more port.

    Members
    -------
    broken : :py:`Out(len(RULES))`
        A bit for each rule that has been broken since reset.
    """

    def __init__(self, config: BuildConfig):
        self._accelerator = Accelerator(config)
        super().__init__({**self._accelerator.signature.members, "broken": Out(len(RULES))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self._accelerator
        for name, member in accelerator.signature.members.items():
            outer, inner = getattr(self, name), getattr(accelerator, name)
            if member.is_signature:
                connect(m, flipped(outer), inner)
            else:
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        for index, broken in enumerate(RULES.values()):
            with m.If(broken(accelerator)):
                m.d.sync += self.broken[index].eq(1)
        return m
