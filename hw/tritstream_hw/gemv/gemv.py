"""Matrix times vector: tape beats and activations through the core, rows out, in words."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.gemv.activations import ActivationRead
from tritstream_hw.gemv.core import TernaryCore
from tritstream_hw.gemv.feeder import Feeder, available_layout, product_layout
from tritstream_hw.gemv.layouts import lanes_layout, sums_layout
from tritstream_hw.gemv.packer import Packer
from tritstream_hw.gemv.serialiser import Serialiser

__all__ = ["Gemv"]


class Gemv(wiring.Component):
    """Product of the tape's trits and the activation memory.

    The tape holds the beats of a command in this order, in which they are taken::

        for block in range(blocks):                  # five rows of each of G groups
            for projection in range(projections):
                for beat in range(column_beats):     # a row group, or G side by side

    and the rows come out as `Serialiser` or `Packer` says, `E` of a token at a time, each with its
    sums of all projections, without those that only fill up the last block. A beat is taken only
    once the activations that it is multiplied with are there.

    Throughput is one beat per cycle, or for each block what one of these takes, whichever ends
    later, also from one command to the next; the first row follows :py:`6 + log2(P)` cycles after
    the last beat of its block, or of the one that makes its word whole. While rows are not taken,
    at most as many groups as the core's queue holds are worked ahead.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    acc_bits : int
        Width of a row sum.
    column_beats : int
        Beats of the longest vector.
    element_width : int
        `E`.
    lanes, groups, slots : int
        `T`, `G`, and states that are kept between passes.
    whole_words : bool
        Whether there is a `Packer` behind the core, for which `G` is 1, or a `Serialiser`.

    Members
    -------
    command, beats, available, read
        As those of `Feeder`.
    lanes : :py:`In(lanes_layout(T, slots))`
        The tokens of the pass, stable while a command is under way.
    o : :py:`Out(stream.Signature(sums_layout(acc_bits, E, T)))`
        Words of rows.
    """

    def __init__(self, *, beat_bytes: int, acc_bits: int, column_beats: int,
                 element_width: int, lanes: int = 1, groups: int = 1, slots: int = 1,
                 whole_words: bool = False):
        super().__init__({
            "command":   In(stream.Signature(product_layout(column_beats))),
            "beats":     In(stream.Signature(data.ArrayLayout(8, groups * beat_bytes))),
            "available": In(available_layout(column_beats)),
            "read":      Out(ActivationRead(beat_bytes=beat_bytes, column_beats=column_beats,
                                            lanes=lanes)),
            "lanes":     In(lanes_layout(lanes, slots)),
            "o":         Out(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
        })
        self._core = TernaryCore(beat_bytes=beat_bytes, acc_bits=acc_bits, lanes=lanes,
                                 groups=groups)
        # An attribute, so that assertions can tell when a product is under way.
        self.feeder = Feeder(beat_bytes=beat_bytes, column_beats=column_beats, lanes=lanes,
                             groups=groups)
        rows = {"acc_bits": acc_bits, "column_beats": column_beats, "element_width": element_width,
                "lanes": lanes, "slots": slots}
        self._serialiser = Packer(**rows) if whole_words else Serialiser(**rows, groups=groups)

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self._core
        m.submodules.feeder = feeder = self.feeder
        m.submodules.serialiser = serialiser = self._serialiser

        # A command goes to both ends in the same cycle. The serialiser has room for one to wait.
        m.d.comb += [
            self.command.ready.eq(feeder.command.ready & serialiser.command.ready),
            feeder.command.valid.eq(self.command.valid & serialiser.command.ready),
            serialiser.command.valid.eq(self.command.valid & feeder.command.ready),
            feeder.command.p.eq(self.command.p),
            serialiser.command.p.eq(self.command.p),
            feeder.available.eq(self.available),
            serialiser.lanes.eq(self.lanes),
        ]
        wiring.connect(m, wiring.flipped(self.beats), feeder.beats)
        wiring.connect(m, wiring.flipped(self.read), feeder.read)
        wiring.connect(m, feeder.o, core.i)
        wiring.connect(m, core.o, serialiser.i)
        wiring.connect(m, serialiser.o, wiring.flipped(self.o))
        return m
