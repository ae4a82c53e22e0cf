"""Head: what becomes of the logits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.elements.layouts import flow, scales_layout
from tritstream_hw.gemv.layouts import rows_layout, sums_layout
from tritstream_hw.head.chain import TopKChain
from tritstream_hw.head.contenders import Contenders
from tritstream_hw.head.table import TopKTable
from tritstream_hw.head.topk import TopK
from tritstream_hw.ports import BEST, to_host_layout
from tritstream_hw.stream.skid import Skid
from tritstream_hw.stream.transfer import taken

__all__ = ["RANKING", "Head"]

RANKING = data.StructLayout({"logits": 1})
"""Whether the host wants every logit."""


class Head(wiring.Component):
    """Ranks the logits of each token, and passes them on to the host if it wants them.

    Throughput is a word of logits per cycle, but for those that may be among the best, of which one
    is ranked per cycle; and one logit per cycle to the host. They leave in step: what the host does
    not take is not ranked.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    candidates : int
        How many logits are ranked.
    element_width : int
        `E`.
    lanes : int
        `T`.
    whole_words : bool
        Whether words of many tokens come so fast that lists would not keep up.

    Members
    -------
    command : :py:`In(stream.Signature(RANKING))`
        Forgets the rankings before, in the first cycle in which it is offered. Taken when the new
        ones are settled and the host has taken every logit.
    sums : :py:`In(stream.Signature(sums_layout(acc_bits, E, T)))`
        Words of logits. Taken while a command stands and their scales are there.
    scales : :py:`In(stream.Signature(scales_layout(T)))`
        Taken with the command.
    logits : :py:`Out(stream.Signature(to_host_layout(T)))`
        To the host.
    ranked : :py:`Out(flow(rows_layout(signed(32), E, T)))`
        The same words, in the cycle in which they are taken.
    lane : :py:`In(range(T))`, index : :py:`In(8)`, best : :py:`Out(BEST)`
        As those of `TopK`.
    """

    def __init__(self, *, acc_bits: int, candidates: int, element_width: int, lanes: int = 1,
                 whole_words: bool = False):
        super().__init__({
            "command": In(stream.Signature(RANKING)),
            "sums":    In(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
            "scales":  In(stream.Signature(scales_layout(lanes))),
            "logits":  Out(stream.Signature(to_host_layout(lanes))),
            "ranked":  Out(flow(rows_layout(signed(32), element_width, lanes))),
            "lane":    In(range(lanes)),
            "index":   In(8),
            "best":    Out(BEST),
        })
        self._contenders = Contenders(acc_bits=acc_bits, element_width=element_width, lanes=lanes)
        # A chain keeps up with any words, but has as many cells as candidates of all tokens.
        if element_width > 1 and lanes == 1:
            self._topk = TopKChain(acc_bits=acc_bits, candidates=candidates)
        elif whole_words:
            self._topk = TopKTable(acc_bits=acc_bits, candidates=candidates, lanes=lanes)
        else:
            self._topk = TopK(acc_bits=acc_bits, candidates=candidates, lanes=lanes)

    def elaborate(self, platform):
        m = Module()
        m.submodules.contenders = contenders = self._contenders
        m.submodules.topk = topk = self._topk
        m.submodules.skid = skid = Skid(self.logits.payload.shape())
        wiring.connect(m, skid.o, wiring.flipped(self.logits))

        active, to_host, there = Signal(), Signal(), Signal()
        m.d.comb += [
            to_host.eq(self.command.p.logits),
            there.eq(active & self.scales.valid),
            contenders.i.valid.eq(self.sums.valid & there),
            contenders.i.p.eq(self.sums.p),
            self.sums.ready.eq(contenders.i.ready & there),
            contenders.every.eq(to_host),
            contenders.least.eq(topk.least),
            contenders.full.eq(topk.full),

            contenders.o.ready.eq(topk.i.ready & (~to_host | skid.i.ready)),
            topk.i.valid.eq(taken(contenders.o)),
            topk.i.p.eq(contenders.o.p),
            skid.i.valid.eq(taken(contenders.o) & to_host),
            skid.i.p.acc.eq(contenders.o.p.acc),
            skid.i.p.lane.eq(contenders.o.p.lane),

            self.ranked.valid.eq(taken(self.sums)),
            self.ranked.p.live.eq(self.sums.p.live),
            self.ranked.p.word.eq(self.sums.p.word),
            self.ranked.p.lane.eq(self.sums.p.lane),
            self.ranked.p.last.eq(self.sums.p.last),
            *(logit.eq(row[0]) for logit, row
              in zip(self.ranked.p.rows, self.sums.p.rows, strict=True)),

            topk.clear.eq(self.command.valid & ~active),
            self.command.ready.eq(active & topk.settled & ~self.logits.valid),
            self.scales.ready.eq(self.command.ready),
            topk.lane.eq(self.lane),
            topk.index.eq(self.index),
            self.best.token.eq(topk.best.token),
            self.best.acc.eq(topk.best.acc),
            self.best.valid.eq(topk.best.valid),
        ]
        m.d.sync += active.eq(self.command.valid & ~self.command.ready)
        return m
