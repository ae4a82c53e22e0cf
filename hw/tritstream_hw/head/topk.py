"""The best few of a stream of logits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["TopK", "TopKSignature", "best_layout", "entry_layout", "logit_layout"]


def logit_layout(acc_bits: int, lanes: int = 1) -> data.StructLayout:
    """Layout of a logit of one of `T` tokens, a row sum of `acc_bits` bits; `last` of a pass."""
    return data.StructLayout(
        {"acc": signed(acc_bits), "row": 16, "lane": range(lanes), "last": 1})


def entry_layout(acc_bits: int) -> data.StructLayout:
    """Layout of a logit that is ranked."""
    return data.StructLayout({"token": 16, "acc": signed(acc_bits)})


def best_layout(acc_bits: int) -> data.StructLayout:
    """Layout of a candidate; `valid` is 0 where there were fewer logits than candidates."""
    return data.StructLayout({"token": 16, "acc": signed(acc_bits), "valid": 1})


class TopKSignature(wiring.Signature):
    """Ports of a ranking, as its user has them; see `TopK`.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    lanes : int
        `T`, tokens.
    """

    def __init__(self, acc_bits: int, lanes: int = 1):
        super().__init__({
            "i":       Out(stream.Signature(logit_layout(acc_bits, lanes))),
            "least":   In(data.ArrayLayout(signed(acc_bits), lanes)),
            "full":    In(lanes),
            "clear":   Out(1),
            "lane":    Out(range(lanes)),
            "index":   Out(8),
            "best":    In(best_layout(acc_bits)),
            "settled": In(1),
        })


class TopK(wiring.Component):
    """Keeps the :py:`candidates` largest logits of a token, sorted; ties to the lower row.

    A list in a small memory, one for each token. A logit that is not among the best is dropped in
    the cycle in which it is taken. One that is goes into the list from its end: in each cycle the
    entry before the free place moves there, if it is smaller, or else the logit does. That takes as
    many cycles as entries are behind it, and one; of `n` logits in random order some
    :py:`candidates * (1 + log(n / candidates))` are among the best of those before them.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    candidates : int
        How many are kept.
    lanes : int
        `T`, tokens.

    Members
    -------
    i : :py:`In(stream.Signature(logit_layout(acc_bits, T)))`
        Logits, rows ascending. Not accepted while one is sorted in, nor in the cycle of `clear`.
    least : :py:`Out(data.ArrayLayout(signed(acc_bits), T))`, full : :py:`Out(T)`
        A logit of a token that is not larger than this will not be kept, if `full`.
    clear : :py:`In(1)`
        Forget everything.
    lane : :py:`In(range(T))`, index : :py:`In(8)`
        Which candidate to show, 0 for the best, and whose.
    best : :py:`Out(best_layout(acc_bits))`
        The candidate, one cycle later; once `settled`.
    settled : :py:`Out(1)`
        A logit marked `last` was taken since `clear`, and all are in their places.
    """

    def __init__(self, *, acc_bits: int, candidates: int, lanes: int = 1):
        self._candidates = candidates
        super().__init__(TopKSignature(acc_bits, lanes).flip())
        # Attributes, because a proof has to look into the list.
        shape, places = entry_layout(acc_bits), max(2, candidates)
        self.list = Memory(shape=shape, depth=(lanes - 1 << ceil_log2(places)) + places, init=[])
        self.counts = Signal(data.ArrayLayout(range(candidates + 1), lanes))
        self.sorting = Signal()
        self.fresh = Signal(shape, reset_less=True)         # what is sorted in
        self.place = Signal(range(places))                  # the free one
        self.owner = Signal.like(self.lane)                 # whose list that is in

    def elaborate(self, platform):
        m = Module()
        m.submodules.list = self.list
        write, read = self.list.write_port(), self.list.read_port(domain="comb")
        most, fresh, owner, place = self._candidates, self.fresh, self.owner, self.place
        # What is read is kept: the candidate that is shown or, while one is sorted in, the entry
        # before the free place. That one is read a cycle ahead, since to compare it takes long.
        entry = Signal.like(fresh)
        nearest, ahead = Signal.like(place), Signal.like(place)

        taken, better, rests, ended = (Signal() for _ in range(4))
        lane = self.i.p.lane
        full = self.full.bit_select(lane, 1)
        m.d.comb += [
            self.full.eq(Cat(count == most for count in self.counts)),
            self.i.ready.eq(~self.sorting & ~self.clear),
            taken.eq(self.i.valid & self.i.ready),
            better.eq(~full | _less(self.least[lane], self.i.p.acc)),
            self.settled.eq(ended & ~self.sorting),
        ]
        with m.If(taken):
            m.d.sync += [
                ended.eq(self.i.p.last),
                self.sorting.eq(better),
                fresh.acc.eq(self.i.p.acc),
                fresh.token.eq(self.i.p.row),
                owner.eq(lane),
                place.eq(Mux(full, most - 1, self.counts[lane])),
                ahead.eq(nearest - 1),
            ]

        shown = self.index[:len(place)]
        m.d.comb += [
            nearest.eq(Mux(full, most - 2, self.counts[lane] - 1)),
            read.addr.eq(Mux(self.sorting, Cat(ahead, owner), Mux(
                self.i.valid, Cat(nearest, lane), Cat(shown, self.lane)))),
            entry.token.eq(self.best.token),
            entry.acc.eq(self.best.acc),
            rests.eq((place == 0) | ~_less(entry.acc, fresh.acc)),
            write.en.eq(self.sorting),
            write.addr.eq(Cat(place, owner)),
            write.data.eq(Mux(rests, fresh, entry)),
        ]
        with m.If(self.sorting):
            m.d.sync += [place.eq(place - 1), ahead.eq(ahead - 1)]
            with m.If(place == most - 1):
                m.d.sync += self.least[owner].eq(write.data.acc)
            with m.If(rests):
                m.d.sync += [
                    self.sorting.eq(0),
                    self.counts[owner].eq(self.counts[owner] + ~self.full.bit_select(owner, 1))]
        with m.If(self.clear):
            m.d.sync += [self.counts.eq(0), self.sorting.eq(0), ended.eq(0)]

        m.d.sync += [
            self.best.token.eq(read.data.token),
            self.best.acc.eq(read.data.acc),
            self.best.valid.eq(self.index < self.counts[self.lane]),
        ]
        return m


def _less(a, b) -> Value:
    """Whether `a < b`: the sign of a difference, a carry chain whose carry need not leave it."""
    return (a - b)[-1]
