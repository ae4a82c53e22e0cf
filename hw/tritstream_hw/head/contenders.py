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
        Logits, rows of a token ascending; one cycle later.
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
        m.submodules.register = register = Register(self.o.payload.shape())
        wiring.connect(m, register.o, wiring.flipped(self.o))

        # Rows of the word that still have to pass, and those that have passed already.
        wanted, passed = Signal(self._width), Signal(self._width)
        first, more = Signal(self._width), Signal()
        last_row = self.i.p.live & ~(self.i.p.live >> 1)
        lane = self.i.p.lane
        least, full = self.least[lane], self.full.bit_select(lane, 1)
        for n, row in enumerate(self.i.p.rows):
            ends = self.i.p.last & last_row[n]
            m.d.comb += wanted[n].eq(
                self.i.p.live[n] & ~passed[n]
                & (self.every | ~full | (row[0] > least) | ends))
        m.d.comb += [
            first.eq(wanted & -wanted),
            more.eq((wanted & ~first).any()),
            register.i.valid.eq(self.i.valid & wanted.any()),
            self.i.ready.eq(~more & (register.i.ready | ~wanted.any())),
            register.i.p.lane.eq(lane),
            register.i.p.last.eq(self.i.p.last & ~more),
        ]
        for n, row in enumerate(self.i.p.rows):
            with m.If(first[n]):
                m.d.comb += [register.i.p.acc.eq(row[0]),
                             register.i.p.row.eq(self.i.p.word * self._width + n)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += passed.eq(0)
        with m.Elif(self.i.valid & register.i.ready):
            m.d.sync += passed.eq(passed | first)
        return m
