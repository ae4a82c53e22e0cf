"""The best few of several tokens' logits, one logit per cycle whatever they are and whose."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

from tritstream_hw.head.topk import TopKSignature, entry_layout

__all__ = ["TopKTable"]


class TopKTable(wiring.Component):
    """The same as `TopK`, for words of many tokens' logits, which come too fast for lists.

    The whole list of a token is a word of a small memory. A logit that is among the best is put
    down, and in the next cycle compared to all entries of its token's list at once: those that it
    is not larger than stay, and it comes behind them, before the rest. That has as many comparisons
    as candidates, and none for each token.

    Throughput is one logit per cycle. The candidates are in order once `settled`, which is two
    cycles after the last logit. What `least` and `full` say is two cycles old.

    Parameters
    ----------
    acc_bits, candidates, lanes : int
        As those of `TopK`.

    Members
    -------
    i, least, full, clear, lane, index, best, settled
        As those of `TopK`; logits are accepted in any cycle but that of `clear`.
    """

    def __init__(self, *, acc_bits: int, candidates: int, lanes: int = 1):
        self._candidates, self._lanes = candidates, lanes
        super().__init__(TopKSignature(acc_bits, lanes).flip())
        self._entry = entry_layout(acc_bits)

    def elaborate(self, platform):
        m = Module()
        shape = data.ArrayLayout(self._entry, self._candidates)
        m.submodules.lists = lists = Memory(shape=shape, depth=self._lanes, init=[])
        write, read = lists.write_port(), lists.read_port(domain="comb")
        counts = Signal(data.ArrayLayout(range(self._candidates + 1), self._lanes))

        # A logit that was put down, and whose it is.
        fresh, owner = Signal(self._entry, reset_less=True), Signal.like(self.lane)
        sorting, taken, ended, full = (Signal() for _ in range(4))
        lane = self.i.p.lane
        m.d.comb += [
            self.full.eq(Cat(count == self._candidates for count in counts)),
            full.eq(self.full.bit_select(lane, 1)),
            self.i.ready.eq(~self.clear),
            taken.eq(self.i.valid & self.i.ready),
            self.settled.eq(ended & ~sorting),
            read.addr.eq(Mux(sorting, owner, self.lane)),
            write.addr.eq(owner),
            write.en.eq(sorting),
        ]
        m.d.sync += sorting.eq(taken & (~full | _less(self.least[lane], self.i.p.acc)))
        with m.If(taken):
            m.d.sync += [ended.eq(self.i.p.last), owner.eq(lane), fresh.acc.eq(self.i.p.acc),
                         fresh.token.eq(self.i.p.row)]

        # Entries that stay; all of those behind a first one that does not move by one.
        stays = Signal(self._candidates)
        m.d.comb += stays.eq(Cat(
            (n < counts[owner]) & ~_less(entry.acc, fresh.acc)
            for n, entry in enumerate(read.data)))
        for n, entry in enumerate(read.data):
            before = Mux(stays[n - 1], fresh, read.data[n - 1]) if n else fresh
            m.d.comb += write.data[n].eq(Mux(stays[n], entry, before))
        with m.If(sorting):
            m.d.sync += [
                self.least[owner].eq(write.data[-1].acc),
                counts[owner].eq(counts[owner] + (counts[owner] != self._candidates)),
            ]
        with m.If(self.clear):
            m.d.sync += [counts.eq(0), sorting.eq(0), ended.eq(0)]

        place = self.index[:ceil_log2(max(2, self._candidates))]
        shown = read.data[place]
        m.d.sync += [
            self.best.token.eq(shown.token),
            self.best.acc.eq(shown.acc),
            self.best.valid.eq(self.index < counts[self.lane]),
        ]
        return m


def _less(a, b) -> Value:
    """Whether `a < b`: the sign of a difference, a carry chain whose carry need not leave it."""
    return (a - b)[-1]
