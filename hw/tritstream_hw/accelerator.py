"""The accelerator: one token pass per start, from the beats of the tape to the best candidates.

The way of the data: `TapeReader` takes the tape apart. `Quantiser` turns x or z into int8 vectors
in the `ActivationMemory`; `Gemv` multiplies them with the trits; `ElementPath` scales the row sums
and makes the elements of the stage's output vector, which goes into the `VectorMemory`, the
`Digest`, and the `Statistics`, from which `Scalars` makes what the next stage's quantiser and
dequantiser need. The row sums of the head go into `TopK`. `Sequencer` starts the stages; it waits
until all elements of one are through before the next begins, so that no two stages use the same
memory.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import connect, flipped
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.image.tape import Bank, Op
from tritstream.link.protocol import Space
from tritstream_hw.elements.path import ElementPath
from tritstream_hw.elements.vectors import VectorMemory
from tritstream_hw.gemv.activations import VECTORS, ActivationMemory
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.head.digest import Digest
from tritstream_hw.head.topk import TopK
from tritstream_hw.norm.quantiser import Quantiser
from tritstream_hw.norm.scalars import Scalars
from tritstream_hw.norm.statistics import Statistics
from tritstream_hw.ports import AcceleratorSignature
from tritstream_hw.sequencer import Sequencer
from tritstream_hw.stream.skid import Skid
from tritstream_hw.tape.gains import GainBanks
from tritstream_hw.tape.layouts import padded_beats
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
        self.config = config
        super().__init__(AcceleratorSignature(config).flip())

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.submodules.sequencer = self.sequencer = Sequencer(config)
        m.submodules.reader = self.reader = TapeReader(config)
        m.submodules.row_reader = self.row_reader = RowReader(config)
        m.submodules.banks = self.banks = GainBanks(config)
        m.submodules.scalars = self.scalars = Scalars()
        m.submodules.quantiser = self.quantiser = Quantiser(config)
        m.submodules.activations = self.activations = ActivationMemory(config)
        m.submodules.gemv = self.gemv = Gemv(config)
        m.submodules.elements = self.elements = ElementPath(config)
        m.submodules.vectors = self.vectors = VectorMemory(config)
        m.submodules.statistics = self.statistics = Statistics(config)
        m.submodules.topk = self.topk = TopK(config)
        m.submodules.crc = self.crc = Digest()
        m.submodules.state = self.state = Memory(
            shape=signed(FORMATS.state_bits), depth=config.max_state, init=[])

        # Registered together with the stage, for they decide nearly everything.
        self.is_embed, self.is_head, self.is_mlgru = Signal(), Signal(), Signal()
        self.half = Signal()            # of the banks: that which is loaded in this stage
        self.flowing = Signal()         # the scales are there: elements may pass
        self.idle = Signal()            # no pass runs: the memories serve the debug port
        m.d.sync += self.idle.eq(self.start.ready)
        header = self.sequencer.header
        with m.If(header.valid & header.ready):
            m.d.sync += [
                self.is_embed.eq(header.p.op == Op.EMBED),
                self.is_head.eq(header.p.op == Op.HEAD),
                self.is_mlgru.eq(header.p.op == Op.MLGRU),
            ]

        self._connect_pass(m)
        self._connect_tape(m)
        self._connect_numbers(m)
        self._connect_gemv(m)
        self._connect_elements(m)
        self._connect_vectors(m)
        self._connect_state(m)
        self._connect_debug(m)
        return m

    def _connect_pass(self, m):
        """Between the outside, the sequencer, and the condition that ends a stage."""
        sequencer = self.sequencer
        connect(m, flipped(self.start), sequencer.start)
        connect(m, sequencer.done, flipped(self.done))
        connect(m, self.reader.header, sequencer.header)
        m.d.comb += [
            sequencer.bad.eq(self.reader.bad),
            sequencer.ended.eq(Mux(self.is_head, self.topk.settled & ~self.logits.valid,
                                   self.statistics.done)),
            sequencer.digest.eq(self.crc.value),
            self.cycles.eq(sequencer.cycles),
            self.stalls.eq(sequencer.stalls),
            self.digest.eq(self.crc.value),
            self.scale.mantissa.eq(self.scalars.scales[0].mantissa),
            self.scale.shift.eq(self.scalars.scales[0].shift),
        ]
        with m.If(sequencer.begin):
            m.d.sync += self.half.eq(~self.half)

    def _connect_tape(self, m):
        """Tape beats to header, banks, trits and row."""
        reader, row_reader, stage = self.reader, self.row_reader, self.sequencer.stage
        m.submodules.buffer = buffer = Skid(self.beats.payload.shape())
        connect(m, flipped(self.beats), buffer.i)
        connect(m, buffer.o, reader.beats)
        connect(m, reader.banks, self.banks.beats)
        m.submodules.trits_buffer = trits_buffer = Skid(self.beats.payload.shape())
        connect(m, reader.trits, trits_buffer.i)
        connect(m, trits_buffer.o, self.gemv.beats)
        connect(m, reader.row, row_reader.beats)
        m.d.comb += [
            reader.row_done.eq(row_reader.done),
            row_reader.start.eq(self.sequencer.begin & self.is_embed),
            row_reader.rows.eq(stage.rows),
        ]
        # A header is collected ahead; that is waited for only when the sequencer wants it.
        m.d.sync += self.sequencer.stalled.eq(
            reader.beats.ready & ~reader.beats.valid & (
                ~reader.collecting | self.sequencer.header.ready))
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += self.beats_taken.eq(self.beats_taken + 1)

        # The half is switched with `begin`; the reader's first bank beat comes after it.
        loading = Signal()
        m.d.comb += [
            self.banks.command.valid.eq(loading),
            self.banks.command.p.banks.eq(stage.banks),
            self.banks.command.p.beats.eq(padded_beats(
                stage.rows, FORMATS.gain_bits, self.config.beat_bytes)),
            self.banks.half.eq(self.half),
        ]
        with m.If(self.sequencer.begin):
            m.d.sync += loading.eq(stage.banks != 0)
        with m.Elif(self.banks.command.ready):
            m.d.sync += loading.eq(0)

    def _connect_numbers(self, m):
        """Statistics of the vector before, to the scalars and the quantiser of this stage."""
        scalars, statistics, quantiser = self.scalars, self.statistics, self.quantiser
        stage, begin = self.sequencer.stage, self.sequencer.begin

        # Statistics are needed until the scales are there, and no element passes before.
        scaling = Signal()
        m.d.comb += [
            scalars.start.eq(begin & ~self.is_embed),
            scalars.s1.eq(statistics.s1),
            scalars.s2.eq(statistics.s2),
            scalars.amax.eq(statistics.amax),
            scalars.vectors.eq(Mux(self.is_mlgru, VECTORS, 1)),
            statistics.clear.eq((begin & self.is_embed) | (scaling & scalars.scales_valid)),
            statistics.use_pre.eq(stage.banks[exact_log2(Bank.PRE)]),
        ]
        for name in ("scale0", "scale1", "scale2", "ratio", "floor"):
            port = getattr(scalars, name)
            m.d.comb += [port.mantissa.eq(stage[f"{name}_mantissa"]),
                         port.exponent.eq(stage[f"{name}_exponent"])]
        with m.If(begin):
            m.d.sync += [scaling.eq(~self.is_embed), self.flowing.eq(self.is_embed)]
        with m.Elif(scaling & scalars.scales_valid):
            m.d.sync += [scaling.eq(0), self.flowing.eq(1)]

        words_per_beat = exact_log2(self.config.beat_bytes // self.config.elements)
        m.d.comb += [
            quantiser.command.valid.eq(begin & ~self.is_embed),
            quantiser.command.p.base.eq(Mux(
                stage.op == Op.RESIDUAL, self.config.z_base // self.config.elements, 0)),
            quantiser.command.p.words.eq(self._column_beats(stage) << words_per_beat),
            quantiser.command.p.vectors.eq(scalars.vectors),
            quantiser.reciprocal.eq(scalars.reciprocal),
            # In the cycle of `begin` they are still those of the stage before.
            quantiser.reciprocal_valid.eq(scalars.reciprocal_valid),
        ]

    def _column_beats(self, stage):
        return padded_beats(stage.columns, FORMATS.act_bits, self.config.beat_bytes)

    def _connect_gemv(self, m):
        gemv, stage = self.gemv, self.sequencer.stage
        connect(m, self.quantiser.write, self.activations.write)
        connect(m, gemv.read, self.activations.read)

        # One cycle after the quantiser's command, which has cleared `available`.
        starting = Signal()
        with m.If(self.sequencer.begin):
            m.d.sync += starting.eq(~self.is_embed)
        with m.Elif(gemv.command.ready):
            m.d.sync += starting.eq(0)
        m.d.comb += [
            gemv.available.eq(self.quantiser.available),
            gemv.command.valid.eq(starting),
            gemv.command.p.column_beats.eq(self._column_beats(stage)),
            gemv.command.p.blocks.eq(stage.blocks),
            gemv.command.p.rows.eq(stage.rows),
            gemv.command.p.projections.eq(
                Mux(self.is_mlgru, 3, Mux(stage.op == Op.GLU, 2, 1))),
            gemv.command.p.separate.eq(self.is_mlgru),
        ]

    def _connect_elements(self, m):
        """Row sums or elements of a row to the element path, those of the head to top-k."""
        gemv, row, elements = self.gemv, self.row_reader, self.elements
        stage = self.sequencer.stage

        # The head's sums leave in step: to the top-k unit, and to the host if it wants them.
        m.submodules.logits_buffer = logits = Skid(self.logits.payload.shape())
        connect(m, logits.o, flipped(self.logits))
        to_host, taken = Signal(), Signal()
        m.d.comb += [
            to_host.eq(self.is_head & self.sequencer.run.logits),
            gemv.o.ready.eq(self.flowing & (~to_host | logits.i.ready)),
            logits.i.valid.eq(gemv.o.valid & self.flowing & to_host),
            logits.i.payload.eq(gemv.o.p.acc),
            taken.eq(gemv.o.valid & gemv.o.ready),
            self.topk.clear.eq(self.sequencer.begin & self.is_head),
            self.topk.i.valid.eq(taken & self.is_head),
            self.topk.i.p.acc.eq(gemv.o.p.acc),
            self.topk.i.p.row.eq(gemv.o.p.row),
            self.topk.i.p.last.eq(gemv.o.p.last),
            self.topk.index.eq(self.candidate),
            self.best.token.eq(self.topk.best.token),
            self.best.acc.eq(self.topk.best.acc),
            self.best.valid.eq(self.topk.best.valid),
        ]

        m.d.comb += [
            elements.stage.eq(stage),
            elements.fresh.eq(self.sequencer.run.fresh),
            elements.scales.eq(self.scalars.scales),
            row.o.ready.eq(1),
        ]
        with m.If(self.is_embed):
            m.d.comb += [
                elements.i.valid.eq(row.o.valid),
                elements.i.p.acc.eq(row.o.p.acc),
                elements.i.p.row.eq(row.o.p.row),
                elements.i.p.last.eq(row.o.p.last),
                elements.scales[0].mantissa.eq(row.mantissa),
                elements.scales[0].shift.eq(row.shift),
            ]
        with m.Else():
            m.d.comb += [
                elements.i.valid.eq(taken & ~self.is_head),
                elements.i.p.acc.eq(gemv.o.p.acc),
                elements.i.p.projection.eq(gemv.o.p.projection),
                elements.i.p.row.eq(gemv.o.p.row),
                elements.i.p.last.eq(gemv.o.p.last),
            ]

        # Every stage ends in one vector, also the head, and the digest sees them all.
        m.d.sync += [
            self.crc.clear.eq(self.clear_digest | (self.start.valid & self.start.ready
                                                   & self.start.p.fresh)),
            self.crc.valid.eq(Mux(self.is_head, taken, elements.o.valid)),
            self.crc.data.eq(Mux(self.is_head, gemv.o.p.acc, elements.o.p.value)),
        ]
        m.d.comb += [
            self.statistics.i.p.eq(elements.o.p),
            self.statistics.i.valid.eq(elements.o.valid),
        ]

    def _connect_vectors(self, m):
        """Ports of the vector memory and the gain banks.

        The quantiser is through with its reads before the first row sum of a stage that reads x
        is there, and before any element has come out; from then on the ports serve those.
        """
        quantiser, elements, vectors = self.quantiser, self.elements, self.vectors
        statistics, banks = self.statistics, self.banks
        lane_bits = exact_log2(self.config.elements)
        reads_word, x_row, debug = Signal(), Signal(16), self.memory

        m.d.comb += [
            reads_word.eq(~quantiser.command.ready),
            x_row.eq(elements.x_row),
            vectors.read_address.eq(Mux(reads_word, quantiser.vector_address, x_row >> lane_bits)),
            quantiser.vector.eq(vectors.read_data),
            vectors.write_en.eq(elements.o.valid),
            vectors.write_address.eq(elements.o.p.row + Mux(
                self._writes_z(), self.config.z_base, 0)),
            vectors.write_data.eq(elements.o.p.value),
        ]
        with m.If(self.idle):
            m.d.comb += [
                x_row.eq(debug.address),
                vectors.write_en.eq(debug.write & (debug.space == Space.VECTORS)),
                vectors.write_address.eq(debug.address),
                vectors.write_data.eq(debug.write_data),
            ]
        self.x = self._lane(m, vectors.read_data, x_row, lane_bits)
        m.d.comb += elements.x.eq(self.x)

        # The quantiser works with the banks loaded in the stage before, all others with this one's.
        bank = Signal.like(quantiser.bank)
        m.d.sync += bank.eq(quantiser.bank)
        gains = [banks.read_data[name] for name in ("gain0", "gain1", "gain2")]
        m.d.comb += [
            banks.read_half.eq(Mux(reads_word, ~self.half, self.half)),
            banks.read_address.eq(Mux(reads_word, quantiser.gain_address,
                                      statistics.bank_row >> lane_bits)),
            banks.keep_half.eq(self.half),
            banks.keep_address.eq(elements.keep_row >> lane_bits),
            elements.keep.eq(self._lane(m, banks.keep_data, elements.keep_row, lane_bits)),
        ]
        with m.Switch(bank):
            for index, gain in enumerate(gains):
                with m.Case(index):
                    m.d.comb += quantiser.gain.eq(gain)
        for name in ("pre", "gain0", "gain1", "gain2"):
            m.d.comb += statistics.bank[name].eq(
                self._lane(m, banks.read_data[name], statistics.bank_row, lane_bits))

    def _writes_z(self):
        op = self.sequencer.stage.op
        return (op == Op.MLGRU) | (op == Op.GLU)

    def _lane(self, m, word, row, lane_bits: int):
        """Member of a word that was addressed by the row of the cycle before."""
        if lane_bits == 0:
            return word[0]
        lane = Signal(lane_bits)
        m.d.sync += lane.eq(row)
        return word[lane]

    def _connect_state(self, m):
        elements, debug = self.elements, self.memory
        write, read = self.state.write_port(), self.state.read_port()
        m.d.comb += [
            read.addr.eq(elements.state_read_address),
            elements.state_read_data.eq(read.data),
            write.en.eq(elements.state_write_en),
            write.addr.eq(elements.state_write_address),
            write.data.eq(elements.state_write_data),
        ]
        with m.If(self.idle):
            m.d.comb += [
                read.addr.eq(debug.address),
                write.en.eq(debug.write & (debug.space == Space.STATE)),
                write.addr.eq(debug.address),
                write.data.eq(debug.write_data),
            ]
        self.state_data = read.data

    def _connect_debug(self, m):
        """Reads of the debug port; its writes are muxed into the memories' own ports."""
        debug = self.memory
        # Two steps, for the memories are far apart.
        read = Signal(2)
        x, state, record = (Signal(signed(32), name=name) for name in ("x", "state", "record"))
        m.d.sync += [
            read.eq(Cat(debug.read, read)),
            debug.data_valid.eq(read[-1]),
            x.eq(self.x), state.eq(self.state_data), record.eq(self.sequencer.record_data),
        ]
        m.d.comb += self.sequencer.record_address.eq(debug.address)
        with m.Switch(debug.space):
            with m.Case(Space.VECTORS):
                m.d.sync += debug.data.eq(x)
            with m.Case(Space.STATE):
                m.d.sync += debug.data.eq(state)
            with m.Default():
                m.d.sync += debug.data.eq(record)
