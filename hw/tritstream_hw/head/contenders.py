"""Contenders: of a word of logits those that may be among the best, one by one."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.gemv.layouts import sums_layout
from tritstream_hw.head.topk import logit_layout
from tritstream_hw.stream.register import Register

__all__ = ["Contenders"]


class Contenders(wiring.Component):
    """Drops logits that cannot be ranked, so that a ranking of one per cycle keeps up with words.

    Of `n` logits in random order, some :py:`k * (1 + log(n / k))` are ever among the best `k` of
    those before them. So words pass at one per cycle but for the first; at worst, if logits
    ascend, a word takes `E` cycles. What is dropped is decided by a rank that may be some cycles
    old: that drops less, never more. The last logit of all passes whatever it is.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    element_width : int
        `E`.
    lanes : int
        `T`.

    Members
    -------
    i : :py:`In(stream.Signature(sums_layout(acc_bits, E, T)))`
        Words of logits, which are sums of projection 0.
    every : :py:`In(1)`
        Drop nothing. Stable while logits are under way.
    least, full
        As those of `TopK`.
    o : :py:`Out(stream.Signature(logit_layout(acc_bits, T)))`
        Logits, rows of a token ascending; two cycles later.
    """

    def __init__(self, *, acc_bits: int, element_width: int, lanes: int = 1):
        self._width = element_width
        super().__init__({
            "i":     In(stream.Signature(sums_layout(acc_bits, element_width, lanes))),
            "every": In(1),
            "least": In(data.ArrayLayout(signed(acc_bits), lanes)),
            "full":  In(lanes),
            "o":     Out(stream.Signature(logit_layout(acc_bits, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        # While one waits here to be ranked, words pass of which none is wanted.
        m.submodules.register = register = Register(self.o.payload.shape())
        wiring.connect(m, register.o, wiring.flipped(self.o))
        o = register.i

        # The rows of a word that still have to pass. Whether they are wanted is found before the
        # word is kept: whoever offers it learns only whether the one before has passed.
        kept = Signal.like(self.i.payload, reset_less=True)
        wanted, first, more = Signal(self._width), Signal(self._width), Signal()
        m.d.comb += [
            first.eq(wanted & -wanted),
            more.eq((wanted & ~first).any()),
            o.valid.eq(wanted.any()),
            o.p.lane.eq(kept.lane),
            o.p.last.eq(kept.last & ~more),
            self.i.ready.eq(~wanted.any() | (~more & o.ready)),
        ]
        for n, row in enumerate(kept.rows):
            with m.If(first[n]):
                m.d.comb += [o.p.acc.eq(row[0]), o.p.row.eq(kept.word * self._width + n)]

        least, full = self.least[self.i.p.lane], self.full.bit_select(self.i.p.lane, 1)
        last_row = self.i.p.live & ~(self.i.p.live >> 1)
        with m.If(o.ready):
            m.d.sync += wanted.eq(wanted & ~first)
        with m.If(self.i.ready):
            m.d.sync += kept.eq(self.i.p)
            for n, row in enumerate(self.i.p.rows):
                ends = self.i.p.last & last_row[n]
                m.d.sync += wanted[n].eq(self.i.valid & self.i.p.live[n]
                                         & (self.every | ~full | (row[0] > least) | ends))
        return m
