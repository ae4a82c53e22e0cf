"""Stream contracts of the blocks around the core, proved without a bound on time."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream_hw.construct import construct
from tritstream_hw.gemv.core import TernaryCore
from tritstream_hw.gemv.feeder import Feeder
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.gemv.serialiser import Serialiser
from tritstream_hw.head.chain import TopKChain
from tritstream_hw.head.topk import TopK
from tritstream_sim.agents.contract import held_until_taken, prove

CONFIG = BuildConfig(beat_bytes=1, vector_width=1, candidates=3, max_hidden=1, max_intermediate=1)


class Contract(wiring.Component):
    """A device whose neighbours keep the contract on its inputs, and which must on its outputs."""

    def __init__(self, dut, *, inputs, outputs):
        self.dut, self.inputs, self.outputs = dut, inputs, outputs
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        wiring.connect(m, wiring.flipped(self), self.dut)
        for name in self.inputs:
            held_until_taken(m, getattr(self, name), Assume)
        for name in self.outputs:
            held_until_taken(m, getattr(self, name), Assert)
        self.invariants(m)
        return m

    def invariants(self, m):
        """Add what else holds, and what induction needs to know."""


class CoreContract(Contract):
    """The core, whose pipeline cannot stop: no sum may come without a place in the queue."""

    def invariants(self, m):
        core = self.dut
        places = len(core.written)
        held, promised = Signal(places), Signal(places)
        ended = sum(core.lanes[0][0].lasts) + (core.live & core.last) + core.lanes[0][0].done
        m.d.comb += [
            held.eq(core.written - core.read),
            promised.eq(core.promised),
            Assert(promised == held + ended),
            Assert(promised <= core.places),
        ]


class FeederContract(Contract):
    """The feeder before a memory that keeps its output, and fills up while a command is run."""

    def invariants(self, m):
        read = self.dut.read
        enabled, before = Signal(), Signal.like(Value.cast(read.data))
        m.d.sync += [enabled.eq(read.en), before.eq(read.data)]
        with m.If(~enabled):
            m.d.comb += Assume(Value.cast(read.data) == before)
        past = Signal.like(self.dut.available)
        m.d.sync += past.eq(self.dut.available)
        for count, past_count in zip(self.dut.available, past, strict=True):
            with m.If(self.dut.running):
                m.d.comb += Assume(count >= past_count)
        with m.If(read.en):
            m.d.comb += Assert(read.beat < self.dut.available[read.vector])


def _ascending(m, topk):
    """Let the rows of logits ascend; return the latest of them, and whether there was one."""
    latest, started = Signal(16), Signal()
    with m.If(topk.i.valid & topk.i.ready):
        m.d.sync += [latest.eq(topk.i.p.row), started.eq(1)]
        with m.If(started):
            m.d.comb += Assume(topk.i.p.row > latest)
    with m.If(topk.clear):
        m.d.sync += started.eq(0)
    return latest, started


def _before(a, b):
    """Whether one logit is ranked before another."""
    return (a.acc > b.acc) | ((a.acc == b.acc) & (a.token < b.token))


class TopKContract(Contract):
    """The ranking of ascending rows: in order at any time, but for the free place in it."""

    def __init__(self, topk):
        super().__init__(topk, inputs=["i"], outputs=[])
        self.entries = [topk.list.read_port(domain="comb") for _ in range(topk.list.data.depth)]

    def invariants(self, m):
        topk, entries = self.dut, self.entries
        latest, started = _ascending(m, topk)
        most = len(entries)
        m.d.comb += [entry.addr.eq(n) for n, entry in enumerate(entries)]
        ends = Mux(topk.full, most - 1, topk.counts[0])     # the last place that is or becomes one
        there = [Mux(topk.sorting, (n <= ends) & (n != topk.place), n < topk.counts[0])
                 for n in range(most)]
        m.d.comb += [Assert(topk.counts[0] <= most),
                     Assert(~topk.sorting | (started & (topk.place <= ends))),
                     Assert(~topk.sorting | (topk.fresh.token <= latest))]
        for n, entry in enumerate(entries):
            with m.If(topk.sorting & (topk.place == n + 1)):        # read a cycle ahead
                m.d.comb += Assert((topk.best.token == entry.data.token)
                                   & (topk.best.acc == entry.data.acc))
            older = entry.data.token < Mux(topk.sorting, topk.fresh.token, latest + 1)
            m.d.comb += Assert(~there[n] | (started & older))
            with m.If(topk.sorting & there[n] & (n > topk.place)):
                m.d.comb += Assert(_before(topk.fresh, entry.data))
            for k in range(n):
                m.d.comb += Assert(~(there[n] & there[k]) | _before(entries[k].data, entry.data))
        with m.If(topk.full & ~(topk.sorting & (topk.place == most - 1))):
            m.d.comb += Assert(topk.least[0] == entries[-1].data.acc)


class ChainContract(Contract):
    """The same by a chain: in order at any time, also while logits are moving."""

    def invariants(self, m):
        topk = self.dut
        latest, started = _ascending(m, topk)
        cells = range(len(topk.kept))
        for n in cells:
            kept, keeps = topk.kept[n], topk.keeps[n]
            offer, offered = topk.offers[n], topk.offered[n]
            m.d.comb += Assert(~keeps | (started & (kept.token <= latest)))
            behind = [(topk.kept[k], topk.keeps[k]) for k in cells if k >= n]
            behind += [(topk.offers[k], topk.offered[k]) for k in cells if k > n]
            for other, there in behind:
                with m.If(offered & there):
                    m.d.comb += Assert(Mux(topk.displaced[n], _before(offer, other),
                                           offer.token > other.token))
                if other is not kept:
                    m.d.comb += Assert(~there | (keeps & _before(kept, other)))


def test_core(tmp_path):
    """A row sum stands until it is taken, and none comes without a place in the queue."""
    prove(CoreContract(construct(TernaryCore, CONFIG), inputs=["i"], outputs=["o"]), tmp_path)


def test_feeder(tmp_path):
    """A beat stands until it is taken, and none is read before its activations are there."""
    feeder = construct(Feeder, CONFIG)
    prove(FeederContract(feeder, inputs=["command", "beats"], outputs=["o"]), tmp_path)


def test_serialiser(tmp_path):
    """A row sum stands until it is taken, however long a product or its reader pauses."""
    prove(Contract(construct(Serialiser, CONFIG), inputs=["command", "i"], outputs=["o"]), tmp_path)


def test_gemv(tmp_path):
    """The whole product keeps the contract of its streams."""
    prove(Contract(construct(Gemv, CONFIG), inputs=["command", "beats"], outputs=["o"]), tmp_path)


def test_topk(tmp_path):
    """The ranking is in order at any time, but for the free place in it."""
    prove(TopKContract(construct(TopK, CONFIG)), tmp_path)


def test_chain(tmp_path):
    """So it is in a chain, also while logits are moving."""
    prove(ChainContract(construct(TopKChain, CONFIG), inputs=["i"], outputs=[]), tmp_path)
