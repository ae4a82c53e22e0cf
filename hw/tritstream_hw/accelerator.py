"""The accelerator: a pass of a few tokens per start, from the beats of the tape to candidates.

`TapeReader` takes the tape apart. `Quantiser` turns x or z into int8 vectors, which `Gemv`
multiplies with the trits. `ElementPath` makes the elements of the stage's output vector of the row
sums; `Statistics` follows them, and `Scalars` makes of these what the next stage's quantiser and
dequantiser need. The row sums of the head go into the `Head`. `Sequencer` gives each block its
command, and waits until all elements are through, so that no two stages use the same memory.

Tokens that share a pass share every reading of the weights, and each block but the trees of the
core: their rows, vectors and scalars go through one after the other, with the number of the lane.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.image.tape import Bank
from tritstream_hw.construct import construct
from tritstream_hw.elements.path import ElementPath
from tritstream_hw.elements.state import StatePorts
from tritstream_hw.elements.vectors import VectorPorts
from tritstream_hw.gemv.activations import ActivationMemory
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.head.digest import VectorDigest
from tritstream_hw.head.head import Head
from tritstream_hw.invariants import assert_invariants
from tritstream_hw.memory.port import beat_layout
from tritstream_hw.norm.quantiser import Quantiser
from tritstream_hw.norm.scalars import Scalars
from tritstream_hw.norm.statistics import Statistics
from tritstream_hw.ports import AcceleratorSignature
from tritstream_hw.sequencer import COMMANDS, Sequencer
from tritstream_hw.stream.skid import Skid
from tritstream_hw.stream.transfer import taken
from tritstream_hw.tape.gains import GainPorts
from tritstream_hw.tape.reader import TapeReader
from tritstream_hw.tape.row import RowReader

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """All of the datapath, with the ports of `AcceleratorSignature`.

    A pass takes as many cycles as the tape has beats, and for each stage what cannot be hidden
    behind it: the norm's scalars, the part of the quantisation that precedes the first row group,
    and the pipeline's latency at the end; about 150 cycles and `columns / V`. What is of a token
    takes as long again for each token more: its embedding row, scalars and quantisation.

    The digest of a lane is that of all that has passed in it since it was cleared or had a fresh
    token. In a vector memory and in one of states, each lane and slot begins at a power of two.

    The ports for debugging work while no pass runs. The content of all memories survives a reset.
    """

    def __init__(self, config: BuildConfig):
        super().__init__(construct(AcceleratorSignature, config).flip())
        self.stripes = config.stripes
        # Attributes, so that assertions can hold them to what they owe each other.
        self.beats_skid, self.trits_skid = (
            Skid(self.beats.payload.shape()), Skid(beat_layout(config.stripe_bytes)))
        self.reader, self.row = TapeReader(config), construct(RowReader, config)
        self.vectors, self.state = construct(VectorPorts, config), construct(StatePorts, config)
        self.gains, self.statistics = construct(GainPorts, config), construct(Statistics, config)
        self.quantiser = construct(Quantiser, config)
        self.scalars = Scalars(scalar_units=config.scalar_units, digit_bits=config.digit_bits,
                               lead=self.quantiser.reciprocal_delay, lanes=config.lanes,
                               root_units=config.root_units)
        self.activations, self.gemv = construct(ActivationMemory, config), construct(Gemv, config)
        self.elements, self.head = construct(ElementPath, config), construct(Head, config)
        self.vector_digest, self.sequencer = construct(VectorDigest, config), Sequencer(config)

    def elaborate(self, platform):
        m = Module()
        for name, block in vars(self).items():
            if isinstance(block, wiring.Component):
                m.submodules[name] = block
        self._connect_tape(m)
        self._connect_commands(m)
        self._connect_vectors(m)
        self._connect_host(m)
        assert_invariants(m, self)
        return m

    def _connect_tape(self, m):
        """Beats of the tape to header, gain banks, trits and row."""
        reader, sequencer = self.reader, self.sequencer
        connect(m, flipped(self.beats), self.beats_skid.i)
        connect(m, self.beats_skid.o, reader.beats)
        connect(m, reader.header, sequencer.header)
        connect(m, reader.banks, self.gains.beats)
        connect(m, reader.trits, self.trits_skid.i)
        connect(m, self.trits_skid.o, self.gemv.beats)
        connect(m, reader.row, self.row.beats)
        m.d.comb += [reader.start.eq(taken(self.start)), reader.row_done.eq(self.row.done),
                     sequencer.takes.eq(taken(self.beats))]
        for name in ("bad", "stalled", "collecting", "complete"):
            m.d.comb += getattr(sequencer, name).eq(getattr(reader, name))
        m.d.comb += [block.lanes.eq(sequencer.lanes) for block in (self.gemv, self.elements)]
        m.d.comb += [block.last.eq(sequencer.lanes.last)
                     for block in (self.row, self.quantiser, self.scalars)]

    def _connect_commands(self, m):
        """Each command to its block, and what tells that the stage is over."""
        for name in COMMANDS:
            connect(m, getattr(self.sequencer, name), getattr(self, name).command)
        m.d.comb += [
            self.gains.half.eq(self.sequencer.half),
            self.sequencer.ended.eq(self.statistics.done | taken(self.head.command)),
            # Behind the last stage nobody waits for them, and the next pass may begin before.
            self.scalars.start.eq(self.statistics.done & ~self.sequencer.is_last),
            self.statistics.use_pre.eq(self.sequencer.gains.p.banks[exact_log2(Bank.PRE)]),
            # Needed until the scales are there, and no element passes before.
            self.statistics.clear.eq(taken(self.scalars.command) | taken(self.row.command)),
        ]

    def _connect_vectors(self, m):
        """A vector's way: to activations, to row sums, to elements of the next, to memory."""
        quantiser, elements, head = self.quantiser, self.elements, self.head
        connect(m, self.statistics.o, self.scalars.statistics)
        connect(m, self.scalars.reciprocals, quantiser.reciprocals)
        connect(m, quantiser.vector, self.vectors.words)
        connect(m, quantiser.gain, self.gains.words)
        connect(m, quantiser.write, self.activations.write)
        connect(m, self.gemv.read, self.activations.read)
        connect(m, self.row.o, elements.row)
        connect(m, self.row.scales, elements.row_scales)
        connect(m, elements.x, self.vectors.rows)
        connect(m, elements.keep, self.gains.keep)
        connect(m, elements.state_read, self.state.read)
        connect(m, elements.state_write, self.state.write)
        connect(m, elements.write, self.vectors.write)
        connect(m, elements.o, self.statistics.i)
        connect(m, elements.o, self.vector_digest.elements)
        connect(m, head.ranked, self.vector_digest.logits)
        m.d.comb += [body.eq(lane.body) for body, lane in zip(
            self.vector_digest.body, self.sequencer.lanes.table, strict=True)]
        # Gains come a cycle after their element, of memories that take two.
        m.d.comb += [self.gains.rows.en.eq(elements.ahead.valid),
                     self.gains.rows.addr.eq(elements.ahead.payload),
                     self.statistics.gains.eq(self.gains.rows.data)]
        m.d.comb += self.gemv.available.eq(quantiser.available)
        # Only one of the two has a command, and neither takes anything without.
        for source, sinks in ((self.gemv.o, (elements.sums, head.sums)),
                              (self.scalars.scales, (elements.scales, head.scales))):
            m.d.comb += source.ready.eq(sinks[0].ready | sinks[1].ready)
            m.d.comb += [(sink.valid.eq(source.valid), sink.p.eq(source.p)) for sink in sinks]

    def _connect_host(self, m):
        """Ports of the accelerator, those for debugging among them."""
        sequencer, debug, digest = self.sequencer, flipped(self.debug), self.vector_digest
        connect(m, flipped(self.start), sequencer.start)
        connect(m, sequencer.done, flipped(self.done))
        connect(m, self.head.logits, flipped(self.logits))
        connect(m, debug.vectors_read, self.vectors.debug_read)
        connect(m, debug.vectors_write, self.vectors.debug_write)
        connect(m, debug.state_read, self.state.debug_read)
        connect(m, debug.state_write, self.state.debug_write)
        connect(m, debug.records_read, sequencer.records)
        m.d.comb += [
            (getattr(self, name).eq(getattr(sequencer, name))
             for name in ("cycles", "stalls", "beats_taken")),
            self.debug.idle.eq(sequencer.idle),
            self.head.lane.eq(self.lane),
            self.head.index.eq(self.candidate),
            self.best.eq(self.head.best),
            self.scale.eq(self.scalars.scales.p[self.lane][0]),
            self.digest.eq(digest.value[self.lane]),
            sequencer.digest.eq(digest.value[0]),
            (clear.eq(self.clear_digest | (taken(self.start) & lane.fresh))
             for clear, lane in zip(digest.clear, self.start.p.lanes.table, strict=True)),
        ]
