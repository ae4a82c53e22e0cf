"""The best few of a stream of logits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["TopK", "TopKSignature", "best_layout", "entry_layout", "logit_layout"]


def logit_layout(acc_bits: int) -> data.StructLayout:
    """Layout of a logit, a row sum of `acc_bits` bits; `last` of a pass."""
    return data.StructLayout({"acc": signed(acc_bits), "row": 16, "last": 1})


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
    """

    def __init__(self, acc_bits: int):
        super().__init__({
            "i":       Out(stream.Signature(logit_layout(acc_bits))),
            "least":   In(signed(acc_bits)),
            "full":    In(1),
            "clear":   Out(1),
            "index":   Out(8),
            "best":    In(best_layout(acc_bits)),
            "settled": In(1),
        })


class TopK(wiring.Component):
    """Keeps the :py:`candidates` largest logits, sorted; of equal ones the lower row first.

    A list in a small memory. A logit that is not among the best is dropped in the cycle in which it
    is taken. One that is goes into the list from its end: in each cycle the entry before the free
    place moves there, if it is smaller, or else the logit does. That takes as many cycles as
    entries are behind it, and one; of `n` logits in random order some
    :py:`candidates * (1 + log(n / candidates))` are among the best of those before them.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    candidates : int
        How many are kept.

    Members
    -------
    i : :py:`In(stream.Signature(logit_layout(acc_bits)))`
        Logits, rows ascending. Not accepted while one is sorted in, nor in the cycle of `clear`.
    least : :py:`Out(signed(acc_bits))`, full : :py:`Out(1)`
        A logit that is not larger than this will not be kept, if `full`.
    clear : :py:`In(1)`
        Forget everything.
    index : :py:`In(8)`
        Which candidate to show, 0 for the best.
    best : :py:`Out(best_layout(acc_bits))`
        The candidate, one cycle later; once `settled`.
    settled : :py:`Out(1)`
        A logit marked `last` was taken since `clear`, and all are in their places.
    """

    def __init__(self, *, acc_bits: int, candidates: int):
        self._candidates = candidates
        super().__init__(TopKSignature(acc_bits).flip())
        # Attributes, because a proof has to look into the list.
        shape = entry_layout(acc_bits)
        self.list = Memory(shape=shape, depth=max(2, candidates), init=[])
        self.count = Signal(range(candidates + 1))
        self.sorting = Signal()
        self.fresh = Signal(shape, reset_less=True)         # what is sorted in
        self.place = Signal(range(max(2, candidates)))      # the free one

    def elaborate(self, platform):
        m = Module()
        m.submodules.list = self.list
        write, read = self.list.write_port(), self.list.read_port(domain="comb")
        most, fresh, place = self._candidates, self.fresh, self.place

        taken, better, rests, ended = (Signal() for _ in range(4))
        m.d.comb += [
            self.full.eq(self.count == most),
            self.i.ready.eq(~self.sorting & ~self.clear),
            taken.eq(self.i.valid & self.i.ready),
            better.eq(~self.full | _less(self.least, self.i.p.acc)),
            self.settled.eq(ended & ~self.sorting),
        ]
        with m.If(taken):
            m.d.sync += [
                ended.eq(self.i.p.last),
                self.sorting.eq(better),
                fresh.acc.eq(self.i.p.acc),
                fresh.token.eq(self.i.p.row),
                place.eq(Mux(self.full, most - 1, self.count)),
            ]

        m.d.comb += [
            read.addr.eq(Mux(self.sorting, place - 1, self.index)),
            rests.eq((place == 0) | ~_less(read.data.acc, fresh.acc)),
            write.en.eq(self.sorting),
            write.addr.eq(place),
            write.data.eq(Mux(rests, fresh, read.data)),
        ]
        with m.If(self.sorting):
            m.d.sync += place.eq(place - 1)
            with m.If(place == most - 1):
                m.d.sync += self.least.eq(write.data.acc)
            with m.If(rests):
                m.d.sync += [self.sorting.eq(0), self.count.eq(self.count + ~self.full)]
        with m.If(self.clear):
            m.d.sync += [self.count.eq(0), self.sorting.eq(0), ended.eq(0)]

        m.d.sync += [
            self.best.token.eq(read.data.token),
            self.best.acc.eq(read.data.acc),
            self.best.valid.eq(self.index < self.count),
        ]
        return m


def _less(a, b) -> Value:
    """Whether `a < b`: the sign of a difference, a carry chain whose carry need not leave it."""
    return (a - b)[-1]
