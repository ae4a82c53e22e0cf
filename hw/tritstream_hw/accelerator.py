"""The accelerator: one token pass per start, from the beats of the tape to the best candidates.

The way of the data: `TapeReader` takes the tape apart. `Quantiser` turns x or z into int8 vectors
in the `ActivationMemory`; `Gemv` multiplies them with the trits; `ElementPath` scales the row sums
and makes the elements of the stage's output vector, which go into the vector memory, the
`VectorDigest`, and the `Statistics`, from which `Scalars` makes what the next stage's quantiser and
dequantiser need. The row sums of the head go into the `Head`. `Sequencer` gives each block its
command; it waits until all elements of a stage are through before the next begins, so that no two
stages use the same memory.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.image.tape import Bank
from tritstream_hw.debug import DebugPort
from tritstream_hw.elements.path import ElementPath
from tritstream_hw.elements.state import StatePorts
from tritstream_hw.elements.vectors import VectorPorts
from tritstream_hw.gemv.activations import ActivationMemory
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.head.digest import VectorDigest
from tritstream_hw.head.head import Head
from tritstream_hw.memory.port import beat_layout
from tritstream_hw.norm.quantiser import Quantiser
from tritstream_hw.norm.scalars import Scalars
from tritstream_hw.norm.statistics import Statistics
from tritstream_hw.ports import AcceleratorSignature
from tritstream_hw.sequencer import Sequencer
from tritstream_hw.stream.skid import Skid
from tritstream_hw.tape.gains import GainPorts
from tritstream_hw.tape.reader import TapeReader
from tritstream_hw.tape.row import RowReader

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """All of the datapath, with the ports of `AcceleratorSignature`.

    A pass takes as many cycles as the tape has beats, and for each stage what cannot be hidden
    behind it: the norm's scalars, the part of the quantisation that precedes the first row group,
    and the pipeline's latency at the end; about 150 cycles and `columns / V`.

    The debug port works while no pass runs. The content of all memories survives a reset.
    """

    def __init__(self, config: BuildConfig):
        super().__init__(AcceleratorSignature(config).flip())
        # Attributes, so that a bench can hold them to what they owe each other.
        self.sequencer = Sequencer(config)
        self.beats_skid = Skid(self.beats.payload.shape())
        self.trits_skid = Skid(beat_layout(config.beat_bytes))
        self.reader, self.row = TapeReader(config), RowReader(config)
        self.gains, self.vectors, self.state = (
            GainPorts(config), VectorPorts(config), StatePorts(config))
        self.statistics, self.scalars = Statistics(config), Scalars()
        self.quantiser, self.activations = Quantiser(config), ActivationMemory(config)
        self.gemv, self.elements, self.head = Gemv(config), ElementPath(config), Head(config)
        self.vector_digest, self.debug = VectorDigest(), DebugPort()

    def elaborate(self, platform):
        m = Module()
        for name in ("sequencer", "beats_skid", "trits_skid", "reader", "row", "gains", "vectors",
                     "state", "statistics", "scalars", "quantiser", "activations", "gemv",
                     "elements", "head", "vector_digest", "debug"):
            m.submodules[name] = getattr(self, name)
        self._connect_tape(m)
        self._connect_commands(m)
        self._connect_product(m)
        self._connect_vectors(m)
        self._connect_host(m)
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
        m.d.comb += [
            reader.row_done.eq(self.row.done),
            sequencer.bad.eq(reader.bad),
            sequencer.takes.eq(self.beats.valid & self.beats.ready),
            sequencer.stalled.eq(reader.stalled),
            sequencer.collecting.eq(reader.collecting),
            sequencer.complete.eq(reader.complete),
            reader.start.eq(self.start.valid & self.start.ready),
        ]

    def _connect_commands(self, m):
        """Each command to its block."""
        sequencer = self.sequencer
        for command, block in ((sequencer.gains, self.gains), (sequencer.row, self.row),
                               (sequencer.quantise, self.quantiser),
                               (sequencer.scalars, self.scalars), (sequencer.gemv, self.gemv),
                               (sequencer.elements, self.elements),
                               (sequencer.ranking, self.head)):
            connect(m, command, block.command)
        m.d.comb += [
            self.gains.half.eq(sequencer.half),
            sequencer.ended.eq(self.statistics.done
                               | (self.head.command.valid & self.head.command.ready)),
        ]

    def _connect_product(self, m):
        """Statistics to scalars, vectors to activations, and row sums to who has a command."""
        scalars, statistics, elements, head = (
            self.scalars, self.statistics, self.elements, self.head)
        connect(m, self.quantiser.write, self.activations.write)
        connect(m, self.gemv.read, self.activations.read)
        connect(m, self.row.o, elements.row)
        connect(m, self.row.scale, elements.row_scale)
        m.d.comb += [
            scalars.s1.eq(statistics.s1),
            scalars.s2.eq(statistics.s2),
            scalars.amax.eq(statistics.amax),
            # They are needed until the scales are there, and no element passes before.
            statistics.clear.eq((scalars.command.valid & scalars.command.ready)
                                | (self.row.command.valid & self.row.command.ready)),
            statistics.use_pre.eq(self.sequencer.gains.p.banks[exact_log2(Bank.PRE)]),
            self.quantiser.reciprocal.eq(scalars.reciprocal),
            self.quantiser.reciprocal_valid.eq(scalars.reciprocal_valid),
            self.gemv.available.eq(self.quantiser.available),
        ]
        # Only one of the two has a command, and neither takes anything without.
        for source, name in ((self.gemv.o, "sums"), (scalars.scales, "scales")):
            sinks = getattr(elements, name), getattr(head, name)
            m.d.comb += source.ready.eq(sinks[0].ready | sinks[1].ready)
            m.d.comb += [(sink.valid.eq(source.valid), sink.payload.eq(source.payload))
                         for sink in sinks]

    def _connect_vectors(self, m):
        """Memories to their users, and elements to who follows them."""
        elements, digest = self.elements, self.vector_digest
        connect(m, self.quantiser.vector, self.vectors.words)
        connect(m, self.quantiser.gain, self.gains.words)
        connect(m, self.statistics.gains, self.gains.rows)
        connect(m, elements.keep, self.gains.keep)
        connect(m, elements.x, self.vectors.rows)
        connect(m, elements.write, self.vectors.write)
        connect(m, elements.state_read, self.state.read)
        connect(m, elements.state_write, self.state.write)
        for follower in (self.statistics.i, digest.elements):
            m.d.comb += [follower.valid.eq(elements.o.valid), follower.p.eq(elements.o.p)]
        connect(m, self.head.ranked, digest.logits)

    def _connect_host(self, m):
        """Ports of the accelerator, the debug port among them."""
        sequencer, debug = self.sequencer, self.debug
        connect(m, flipped(self.start), sequencer.start)
        connect(m, sequencer.done, flipped(self.done))
        connect(m, self.head.logits, flipped(self.logits))
        connect(m, flipped(self.memory), debug.host)
        connect(m, debug.vectors, self.vectors.debug)
        connect(m, debug.state, self.state.debug)
        connect(m, debug.records, sequencer.records)
        m.d.comb += [
            debug.idle.eq(sequencer.idle),
            self.head.index.eq(self.candidate),
            self.best.token.eq(self.head.best.token),
            self.best.acc.eq(self.head.best.acc),
            self.best.valid.eq(self.head.best.valid),
            self.scale.mantissa.eq(self.scalars.scales.p[0].mantissa),
            self.scale.shift.eq(self.scalars.scales.p[0].shift),
            self.vector_digest.clear.eq(self.clear_digest | (
                self.start.valid & self.start.ready & self.start.p.fresh)),
            sequencer.digest.eq(self.vector_digest.value),
            self.digest.eq(self.vector_digest.value),
            self.cycles.eq(sequencer.cycles),
            self.stalls.eq(sequencer.stalls),
            self.beats_taken.eq(sequencer.beats_taken),
        ]
