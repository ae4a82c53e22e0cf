"""The best few of a stream of logits, one logit per cycle whatever they are."""

from amaranth import *
from amaranth.lib import wiring

from tritstream_hw.head.topk import TopKSignature, entry_layout

__all__ = ["TopKChain"]


class TopKChain(wiring.Component):
    """The same as `TopK`, for words of logits that come too fast for a list.

    A chain of cells. Each keeps the better of its own and of what arrives, and hands on the other,
    so nothing has to reach more than one cell in a cycle. What a cell hands on after it took
    something better comes before all that lies behind it, also before an equal one there, and so
    replaces the next cell's own without a comparison.

    Throughput is one logit per cycle. The candidates are in order once `settled`, which is one
    cycle per candidate, and one more, after the last logit.

    Parameters
    ----------
    acc_bits, candidates : int
        As those of `TopK`.

    Members
    -------
    i, least, full, clear, index, best, settled
        As those of `TopK`; logits are accepted in any cycle but that of `clear`.
    """

    def __init__(self, *, acc_bits: int, candidates: int):
        self._candidates = candidates
        super().__init__(TopKSignature(acc_bits).flip())
        # What each cell keeps, and what arrives at it: the input at the first, what the cell before
        # handed on at the others. Attributes, because a proof has to compare them.
        cells = range(candidates)
        shape = entry_layout(acc_bits)
        self.kept = [Signal(shape, name=f"kept_{n}", reset_less=True) for n in cells]
        self.offers = [Signal(shape, name=f"offer_{n}", reset_less=True) for n in cells]
        self.keeps, self.offered, self.displaced = (
            Signal(candidates, name=name) for name in ("keeps", "offered", "displaced"))

    def elaborate(self, platform):
        m = Module()
        candidates = self._candidates

        taken = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.clear),
            taken.eq(self.i.valid & self.i.ready),
            self.offers[0].token.eq(self.i.p.row),
            self.offers[0].acc.eq(self.i.p.acc),
            self.offered[0].eq(taken),
            self.least[0].eq(self.kept[-1].acc),
            self.full.eq(self.keeps[-1]),
        ]
        better = Signal(candidates)
        for n, (kept, offer) in enumerate(zip(self.kept, self.offers, strict=True)):
            # The sign of a difference: a carry chain whose carry need not leave it.
            larger = (kept.acc - offer.acc)[-1]
            m.d.comb += better[n].eq(
                self.offered[n] & (self.displaced[n] | ~self.keeps[n] | larger))
            with m.If(better[n]):
                m.d.sync += kept.eq(offer)
        for n in range(1, candidates):
            m.d.sync += self.offers[n].eq(
                Mux(better[n - 1], self.kept[n - 1], self.offers[n - 1]))
        m.d.sync += [
            self.displaced[1:].eq(better),
            self.offered[1:].eq(self.offered & (self.keeps | ~better)),
            self.keeps.eq(self.keeps | better),
        ]
        with m.If(self.clear):
            m.d.sync += [self.offered[1:].eq(0), self.keeps.eq(0)]

        ended = Signal(candidates)
        m.d.sync += ended.eq(Cat(taken & self.i.p.last, ended))
        m.d.sync += self.settled.eq(self.settled | ended[-1])
        with m.If(self.clear):
            m.d.sync += [ended.eq(0), self.settled.eq(0)]

        place = self.index[:(candidates - 1).bit_length()]
        shown = Array(self.kept)[place]
        m.d.sync += [
            self.best.token.eq(shown.token),
            self.best.acc.eq(shown.acc),
            self.best.valid.eq((self.index < candidates) & self.keeps.bit_select(place, 1)),
        ]
        return m
