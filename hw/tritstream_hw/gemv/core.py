"""The multiplier-free core: beats of the tape times activations, summed up into five rows."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.gemv.trit import TRIT, TritDecoder

__all__ = ["TernaryCore", "TernaryLane", "TernaryTree", "groups_layout", "operands_layout"]

ROWS = FORMATS.trits_per_byte


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


def _add(a, b, carry):
    """Return `a + b + carry`; the position below the lowest makes the carry.

    Written as two additions it would become two carry chains.
    """
    return (Cat(C(1, 1), a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()


class TernaryTree(wiring.Component):
    """Sum of one row over one beat: `P` activations, each times a trit.

    A negative trit inverts its activation and leaves a carry of 1 to be added. Each adder takes one
    carry of the two that its operands come with and hands on the other, so a tree of `P - 1` adders
    ends with one, which the accumulator takes. `P` values of `-128 .. 127` and `P - 1` carries fit
    :py:`8 + log2(P)` bits. Latency is :py:`1 + log2(P)` cycles, throughput one beat per cycle.

    Parameters
    ----------
    beat_bytes : int
        `P`.

    Members
    -------
    trits : :py:`In(data.ArrayLayout(TRIT, P))`
        Weights.
    acts : :py:`In(data.ArrayLayout(signed(8), P))`
        Activations.
    total : :py:`Out(signed(8 + log2(P)))`, carry : :py:`Out(1)`
        The sum is :py:`total + carry`.
    """

    def __init__(self, *, beat_bytes: int):
        super().__init__({
            "trits": In(data.ArrayLayout(TRIT, beat_bytes)),
            "acts":  In(data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)),
            "total": Out(signed(FORMATS.act_bits + exact_log2(beat_bytes))),
            "carry": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        terms = []
        for trit, act in zip(self.trits, self.acts, strict=True):
            product = Signal(signed(len(act)), name=f"product_{len(terms)}", reset_less=True)
            carry = Signal(name=f"negated_{len(terms)}", reset_less=True)
            ones = trit.neg.replicate(len(act)), trit.nonzero.replicate(len(act))
            m.d.sync += [product.eq((act ^ ones[0]) & ones[1]), carry.eq(trit.neg)]
            terms.append((product, carry))

        while len(terms) > 1:
            sums = []
            for (a, taken), (b, handed_on) in zip(terms[0::2], terms[1::2], strict=True):
                where = f"{len(terms) // 2}_{len(sums)}"
                total = Signal(signed(len(a) + 1), name=f"total_{where}", reset_less=True)
                carry = Signal(name=f"carry_{where}", reset_less=True)
                m.d.sync += [total.eq(_add(a, b, taken)), carry.eq(handed_on)]
                sums.append((total, carry))
            terms = sums

        [(total, carry)] = terms
        m.d.comb += [self.total.eq(total), self.carry.eq(carry)]
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
    trits : :py:`In(data.ArrayLayout(data.ArrayLayout(TRIT, 5), P))`
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
            "trits": In(data.ArrayLayout(data.ArrayLayout(TRIT, ROWS), beat_bytes)),
            "acts":  In(data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)),
            "live":  In(1),
            "last":  In(1),
            "sums":  Out(data.ArrayLayout(signed(acc_bits), ROWS)),
            "done":  Out(1),
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
            for column, trits in enumerate(self.trits):
                m.d.comb += tree.trits[column].eq(trits[row])

            acc = Signal.like(self.sums[row], name=f"acc_{row}")
            total = Signal.like(acc, name=f"total_{row}")
            m.d.comb += total.eq(_add(acc, tree.total, tree.carry))
            # Clearing after a group, not before the next, is free: a flip-flop's own reset does it.
            with m.If(self.lasts[-1]):
                m.d.sync += acc.eq(0)
            with m.Elif(self.lives[-1]):
                m.d.sync += acc.eq(total)
            m.d.sync += self.sums[row].eq(total)
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
        # Positions in the queue, one bit wider than an address, so that full and empty differ.
        # Attributes, like those of the lane, because a proof has to relate them.
        self.promised, self.written, self.read = (
            Signal(address_bits + 1, name=name) for name in ("promised", "written", "read"))
        self.live, self.last = Signal(), Signal()

    @property
    def latency(self) -> int:
        """Cycles from taking the last beat of a group to offering its sums."""
        return 4 + exact_log2(self._beat_bytes)

    def elaborate(self, platform):
        m = Module()
        taken = Signal()
        # Registered, so one place is held back for what may be promised in this cycle.
        m.d.sync += self.i.ready.eq(
            (self.promised - self.read)[:len(self.promised)] < self.places - 1)
        m.d.comb += taken.eq(self.i.valid & self.i.ready)
        with m.If(taken & self.i.p.last):
            m.d.sync += self.promised.eq(self.promised + 1)

        beats = data.ArrayLayout(self.lanes[0][0].trits.shape(), self._groups)
        trits = Signal(beats, reset_less=True)
        acts = Signal(self.i.p.acts.shape(), reset_less=True)
        for place, code in enumerate(self.i.p.codes):
            m.submodules[f"decoder_{place}"] = decoder = TritDecoder()
            group, column = divmod(place, self._beat_bytes)
            m.d.comb += decoder.code.eq(code)
            m.d.sync += trits[group][column].eq(decoder.trits)
        m.d.sync += [acts.eq(self.i.p.acts), self.live.eq(taken), self.last.eq(self.i.p.last)]

        m.submodules.queue = queue = Memory(shape=self.o.payload.shape(), depth=self.places,
                                            init=[])
        write, read = queue.write_port(), queue.read_port(domain="comb")
        for group, lanes in enumerate(self.lanes):
            for n, lane in enumerate(lanes):
                m.submodules[f"lane{group}_{n}"] = lane
                m.d.comb += [lane.trits.eq(trits[group]), lane.acts.eq(acts[n]),
                             lane.live.eq(self.live), lane.last.eq(self.last),
                             write.data.sums[group][n].eq(lane.sums)]
        done = self.lanes[0][0].done        # all are in step
        m.d.comb += [
            write.addr.eq(self.written),
            write.en.eq(done),
            read.addr.eq(self.read),
            self.o.payload.eq(read.data),
            self.o.valid.eq(self.written != self.read),
        ]
        m.d.sync += self.written.eq(self.written + done)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.read.eq(self.read + 1)
        return m
