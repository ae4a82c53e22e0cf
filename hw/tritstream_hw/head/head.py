"""Head: what becomes of the logits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.elements.layouts import SCALES, flow
from tritstream_hw.gemv.layouts import sum_layout
from tritstream_hw.head.topk import TopK
from tritstream_hw.ports import BEST
from tritstream_hw.stream.skid import Skid

__all__ = ["RANKING", "Head"]

RANKING = data.StructLayout({"logits": 1})
"""Whether the host wants every logit."""


class Head(wiring.Component):
    """Ranks logits, and passes them on to the host if it wants them.

    Throughput is one logit per cycle. They leave in step: what the host does not take is not
    ranked.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    candidates : int
        How many logits are ranked.

    Members
    -------
    command : :py:`In(stream.Signature(RANKING))`
        Forgets the ranking before, in the first cycle in which it is offered. Taken when the new
        one is settled and the host has taken every logit.
    sums : :py:`In(stream.Signature(sum_layout(acc_bits)))`
        Logits. Taken while a command stands and their scale is there.
    scales : :py:`In(stream.Signature(SCALES))`
        Taken with the command.
    logits : :py:`Out(stream.Signature(signed(32)))`
        To the host.
    ranked : :py:`Out(flow(signed(32)))`
        Each logit, in the cycle in which it is taken.
    index : :py:`In(8)`, best : :py:`Out(BEST)`
        As those of `TopK`.
    """

    def __init__(self, *, acc_bits: int, candidates: int):
        super().__init__({
            "command": In(stream.Signature(RANKING)),
            "sums":    In(stream.Signature(sum_layout(acc_bits))),
            "scales":  In(stream.Signature(SCALES)),
            "logits":  Out(stream.Signature(signed(32))),
            "ranked":  Out(flow(signed(32))),
            "index":   In(8),
            "best":    Out(BEST),
        })
        self._topk = TopK(acc_bits=acc_bits, candidates=candidates)

    def elaborate(self, platform):
        m = Module()
        m.submodules.topk = topk = self._topk
        m.submodules.skid = skid = Skid(signed(32))
        wiring.connect(m, skid.o, wiring.flipped(self.logits))

        active, to_host, ready, taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            to_host.eq(self.command.p.logits),
            ready.eq(active & self.scales.valid & topk.i.ready & (~to_host | skid.i.ready)),
            taken.eq(self.sums.valid & ready),
            self.sums.ready.eq(ready),
            topk.i.valid.eq(taken),
            topk.i.p.eq(self.sums.p),
            skid.i.valid.eq(taken & to_host),
            skid.i.payload.eq(self.sums.p.acc),
            self.ranked.valid.eq(taken),
            self.ranked.payload.eq(self.sums.p.acc),

            topk.clear.eq(self.command.valid & ~active),
            self.command.ready.eq(active & topk.settled & ~self.logits.valid),
            self.scales.ready.eq(self.command.ready),
            topk.index.eq(self.index),
            self.best.token.eq(topk.best.token),
            self.best.acc.eq(topk.best.acc),
            self.best.valid.eq(topk.best.valid),
        ]
        m.d.sync += active.eq(self.command.valid & ~self.command.ready)
        return m
