"""The multiplier-free core: beats of the tape times activations, summed up into five rows."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.add_subtract import AddSubtract
from tritstream_hw.gemv.trit import TritDecoder

__all__ = ["TernaryCore", "TernaryLane", "TernaryTree", "groups_layout", "operands_layout"]

ROWS = FORMATS.trits_per_byte

WEIGHT = data.StructLayout({"neg": 1, "zero": 1})
"""A trit as the trees want it: `neg` is not set in 0."""


def operands_layout(beat_bytes: int, lanes: int = 1, groups: int = 1) -> data.StructLayout:
    """Layout of what the core takes in a cycle.

    A beat of each of `G` row groups, and activations of each of `T` tokens.
    """
    return data.StructLayout({
        "codes": data.ArrayLayout(8, groups * beat_bytes),
        "acts":  data.ArrayLayout(
            data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes), lanes),
        "last":  1,
    })


def groups_layout(acc_bits: int, lanes: int = 1, groups: int = 1) -> data.StructLayout:
    """Layout of the sums of `G` row groups, of `acc_bits` bits each, of each of `T` tokens."""
    of_group = data.ArrayLayout(data.ArrayLayout(signed(acc_bits), ROWS), lanes)
    return data.StructLayout({"sums": data.ArrayLayout(of_group, groups)})


class TernaryTree(wiring.Component):
    """Sum of one row over one beat: `P` activations, each times a trit.

    A negative trit's sign goes up the tree beside its activation. Each adder takes the difference
    of operands whose signs differ, and hands on the sign of the first, so a tree of `P - 1` adders
    ends with one sign, which the accumulator takes. `P` values of `-128 .. 127` fit
    :py:`8 + log2(P)` bits. Latency is :py:`1 + log2(P)` cycles, throughput one beat per cycle.

    Parameters
    ----------
    beat_bytes : int
        `P`.

    Members
    -------
    weights : :py:`In(data.ArrayLayout(WEIGHT, P))`
        Weights.
    acts : :py:`In(data.ArrayLayout(signed(8), P))`
        Activations.
    total : :py:`Out(signed(8 + log2(P)))`, negative : :py:`Out(1)`
        The sum is `total`, or :py:`-total`.
    """

    def __init__(self, *, beat_bytes: int):
        super().__init__({
            "weights":  In(data.ArrayLayout(WEIGHT, beat_bytes)),
            "acts":     In(data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)),
            "total":    Out(signed(FORMATS.act_bits + exact_log2(beat_bytes))),
            "negative": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        values = [Signal(signed(len(act)), name=f"product_{n}", reset_less=True)
                  for n, act in enumerate(self.acts)]
        for value, weight, act in zip(values, self.weights, self.acts, strict=True):
            # A flip-flop's own reset does it, without a lookup table.
            m.d.sync += value.eq(Mux(weight.zero, 0, act))

        # A cycle ahead of the values: an adder has to know in time whether it subtracts.
        signs = [weight.neg for weight in self.weights]
        while len(values) > 1:
            totals, handed_on = [], []
            for n in range(0, len(values), 2):
                where = f"{len(values) // 2}_{n // 2}"
                m.submodules[f"adder_{where}"] = adder = AddSubtract(
                    a_bits=len(values[n]), b_bits=len(values[n]), bits=len(values[n]) + 1)
                subtract = Signal(name=f"subtract_{where}", reset_less=True)
                sign = Signal(name=f"sign_{where}", reset_less=True)
                total = Signal(adder.total.shape(), name=f"total_{where}", reset_less=True)
                m.d.comb += [adder.a.eq(values[n]), adder.b.eq(values[n + 1]),
                             adder.subtract.eq(subtract)]
                m.d.sync += [subtract.eq(signs[n] ^ signs[n + 1]), sign.eq(signs[n]),
                             total.eq(adder.total)]
                totals.append(total)
                handed_on.append(sign)
            values, signs = totals, handed_on

        m.d.sync += self.negative.eq(signs[0])
        m.d.comb += self.total.eq(values[0])
        return m


class TernaryLane(wiring.Component):
    """Five rows for one token: a tree and an accumulator for each.

    Free-running: nothing stalls it. Latency from a beat to its effect on `sums` is
    :py:`2 + log2(P)` cycles, throughput one beat per cycle, and the beat after the last of a group
    may be the first of the next.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    acc_bits : int
        Width of a row sum.

    Members
    -------
    weights : :py:`In(data.ArrayLayout(data.ArrayLayout(WEIGHT, 5), P))`
        Weights, column by column.
    acts : :py:`In(data.ArrayLayout(signed(8), P))`
        Activations, one per column.
    live, last : :py:`In(1)`
        There is a beat; it is the last one of its group.
    sums : :py:`Out(data.ArrayLayout(signed(acc_bits), 5))`
        Row sums of the group that ended latest.
    done : :py:`Out(1)`
        A strobe in the first cycle in which `sums` belongs to a group.
    """

    def __init__(self, *, beat_bytes: int, acc_bits: int):
        self._beat_bytes = beat_bytes
        super().__init__({
            "weights": In(data.ArrayLayout(data.ArrayLayout(WEIGHT, ROWS), beat_bytes)),
            "acts":    In(data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)),
            "live":    In(1),
            "last":    In(1),
            "sums":    Out(data.ArrayLayout(signed(acc_bits), ROWS)),
            "done":    Out(1),
        })
        depth = 1 + exact_log2(beat_bytes)
        # Attributes, because a proof has to count what is under way.
        self.lives, self.lasts = Signal(depth), Signal(depth)

    def elaborate(self, platform):
        m = Module()

        m.d.sync += [
            self.lives.eq(Cat(self.live, self.lives)),
            self.lasts.eq(Cat(self.live & self.last, self.lasts)),
            self.done.eq(self.lasts[-1]),
        ]
        for row in range(ROWS):
            m.submodules[f"tree_{row}"] = tree = TernaryTree(beat_bytes=self._beat_bytes)
            m.d.comb += tree.acts.eq(self.acts)
            for column, weights in enumerate(self.weights):
                m.d.comb += tree.weights[column].eq(weights[row])

            acc = Signal.like(self.sums[row], name=f"acc_{row}")
            m.submodules[f"adder_{row}"] = adder = AddSubtract(
                a_bits=len(acc), b_bits=len(tree.total), bits=len(acc))
            m.d.comb += [adder.a.eq(acc), adder.b.eq(tree.total), adder.subtract.eq(tree.negative)]
            # Clearing after a group, not before the next, is free: a flip-flop's own reset does it.
            with m.If(self.lasts[-1]):
                m.d.sync += acc.eq(0)
            with m.Elif(self.lives[-1]):
                m.d.sync += acc.eq(adder.total)
            m.d.sync += self.sums[row].eq(adder.total)
        return m


class TernaryCore(wiring.Component):
    """Row sums of the tape's trits times the activations: :py:`sums[t, k] = acts[t] @ trits[k]`.

    Row groups side by side are in step: each has a beat of its own, and all meet the same
    activations. Tokens that share a pass share the decoders of trits. Each group has trees and
    accumulators of its own for each token, a `TernaryLane`.

    Takes one beat of each per cycle, without a gap between groups, and offers their five sums
    :py:`4 + log2(P)` cycles after its last beat was taken, if nothing older waits. Nothing in the
    pipeline can stop, which keeps an enable with thousands of loads out of the design. Instead,
    the last beat of a group is promised a place in the output queue, and while there is no place
    to promise, no beat is taken. The queue has more places than the pipeline has stages, so it
    never limits a receiver that is always ready.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    acc_bits : int
        Width that every row sum fits, as it does with activations of -127 to 127.
    lanes, groups : int
        `T`, tokens that share a pass, and `G`, row groups side by side.

    Members
    -------
    i : :py:`In(stream.Signature(operands_layout(P, T, G)))`
        Beats of row groups, the last of each marked.
    o : :py:`Out(stream.Signature(groups_layout(acc_bits, T, G)))`
        Sums of each group, in order.
    """

    def __init__(self, *, beat_bytes: int, acc_bits: int, lanes: int = 1, groups: int = 1):
        self._beat_bytes, self._groups = beat_bytes, groups
        super().__init__({
            "i": In(stream.Signature(operands_layout(beat_bytes, lanes, groups))),
            "o": Out(stream.Signature(groups_layout(acc_bits, lanes, groups))),
        })
        # By row group, then by token.
        self.lanes = [[TernaryLane(beat_bytes=beat_bytes, acc_bits=acc_bits) for _ in range(lanes)]
                      for _ in range(groups)]
        address_bits = self.latency.bit_length()
        self.places = 1 << address_bits
        # Places that are promised or taken, and positions in the queue, one bit wider than an
        # address, so that full and empty differ. Attributes, like those of the lane, because a
        # proof has to relate them.
        self.promised, self.written, self.read = (
            Signal(address_bits + 1, name=name) for name in ("promised", "written", "read"))
        self.live, self.last = Signal(), Signal()

    @property
    def latency(self) -> int:
        """Cycles from taking the last beat of a group to offering its sums."""
        return 4 + exact_log2(self._beat_bytes)

    def elaborate(self, platform):
        m = Module()
        taken, promises, frees = Signal(), Signal(), Signal()
        # Registered, so one place is held back for what may be promised in this cycle.
        m.d.sync += self.i.ready.eq(self.promised < self.places - 1)
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), promises.eq(taken & self.i.p.last),
                     frees.eq(self.o.valid & self.o.ready)]
        with m.If(promises & ~frees):
            m.d.sync += self.promised.eq(self.promised + 1)
        with m.Elif(frees & ~promises):
            m.d.sync += self.promised.eq(self.promised - 1)

        beats = data.ArrayLayout(self.lanes[0][0].weights.shape(), self._groups)
        weights = Signal(beats, reset_less=True)
        acts = Signal(self.i.p.acts.shape(), reset_less=True)
        for place, code in enumerate(self.i.p.codes):
            m.submodules[f"decoder_{place}"] = decoder = TritDecoder()
            group, column = divmod(place, self._beat_bytes)
            m.d.comb += decoder.code.eq(code)
            for weight, trit in zip(weights[group][column], decoder.trits, strict=True):
                m.d.sync += [weight.neg.eq(trit.neg), weight.zero.eq(~trit.nonzero)]
        m.d.sync += [acts.eq(self.i.p.acts), self.live.eq(taken), self.last.eq(self.i.p.last)]

        m.submodules.queue = queue = Memory(shape=self.o.payload.shape(), depth=self.places,
                                            init=[])
        write, read = queue.write_port(), queue.read_port(domain="comb")
        for group, lanes in enumerate(self.lanes):
            for n, lane in enumerate(lanes):
                m.submodules[f"lane{group}_{n}"] = lane
                m.d.comb += [lane.weights.eq(weights[group]), lane.acts.eq(acts[n]),
                             lane.live.eq(self.live), lane.last.eq(self.last),
                             write.data.sums[group][n].eq(lane.sums)]
        done = self.lanes[0][0].done        # all are in step
        m.d.comb += [
            write.addr.eq(self.written),
            write.en.eq(done),
            read.addr.eq(self.read),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += self.written.eq(self.written + done)
        # Registered, like the position behind the one that is read: comparisons take their time.
        following = Signal.like(self.read, init=1)
        with m.If(done):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(frees & (self.written == following)):
            m.d.sync += self.o.valid.eq(0)
        under_way = sum(self.lanes[0][0].lasts) + (self.live & self.last) + done
        held = (self.written - self.read)[:len(self.written)]
        m.d.sync += [
            Assert(following == (self.read + 1)[:len(following)], "another position follows"),
            Assert(self.o.valid == (held != 0), "sums are offered that are not there, or not all"),
            Assert(self.promised == held + under_way, "a place is lost, or promised twice"),
            Assert(self.promised <= self.places, "more places are promised than there are"),
        ]
        with m.If(frees):
            m.d.sync += following.eq(following + 1)
            m.d.sync += self.read.eq(self.read + 1)
        return m
