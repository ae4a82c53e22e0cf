"""Sequencer: takes a pass stage by stage through the accelerator, and keeps the record of each."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.link.messages import RECORD_WORDS, Measures
from tritstream.link.protocol import Status
from tritstream_hw.gemv.layouts import lanes_layout
from tritstream_hw.layouts import table_layout
from tritstream_hw.ports import BEATS_BITS, DONE, PASS_BITS, record_port, start_layout
from tritstream_hw.ram import Ram
from tritstream_hw.stage import StageDecoder, stage_layout
from tritstream_hw.stream.delay import delay
from tritstream_hw.stream.transfer import taken
from tritstream_hw.tape.layouts import HEADER_LAYOUT

__all__ = ["COMMANDS", "Sequencer"]

COMMANDS = "gains", "quantiser", "scalars", "row", "gemv", "elements", "head"
"""Streams of commands by the names of the blocks that take them, which are those of the control
word's members."""

_RECORD = data.StructLayout({"digest": 32, "cycles": PASS_BITS, "stalls": PASS_BITS})


class Sequencer(wiring.Component):
    """Runs the stages of a pass one after the other.

    A stage begins when its header is there and the stage before it has ended, and takes two cycles
    of the sequencer's own and one to write its record. All its commands are offered in its first
    cycle, but for that of the product, which is offered once the quantiser has taken its own: that
    clears what the product's feeder may read.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build: there is a command for every block, as wide as each takes it.

    Members
    -------
    start : :py:`In(stream.Signature(start_layout(T, slots)))`
        Begin of a pass.
    done : :py:`Out(stream.Signature(DONE))`
        Its end.
    lanes : :py:`Out(lanes_layout(T, slots))`
        The tokens of the pass, until the next begins.
    header : :py:`In(stream.Signature(HEADER_LAYOUT))`
        From the tape reader.
    bad : :py:`In(1)`
        The tape cannot be read; ends the pass, and everything has to be reset.
    gains, quantiser, scalars, row, gemv, elements, head : :py:`Out(stream.Signature(...))`
        Commands of the stage, see `stage_layout`. The payload of each stays until the stage ends.
    half : :py:`Out(1)`
        Which half of the gain banks is loaded in this stage; the other one is that of the stage
        before.
    is_last : :py:`Out(1)`
        No stage follows in this pass. Of a stage from its first cycle until its record is written.
    idle : :py:`Out(1)`
        No pass runs.
    ended : :py:`In(1)`
        Strobe: the stage has ended. Not in its first cycle.
    collecting, complete : :py:`In(1)`
        The section has been read to its end; so has the pass. A pass that ends before is a bad one.
    takes, stalled : :py:`In(1)`
        A beat is taken; in the cycle before, one was wanted and none was there.
    digest : :py:`In(32)`
        Running digest of the first token's lane.
    cycles, stalls : :py:`Out(PASS_BITS)`
        Of this pass so far, or of the one that ended last. A stall is a cycle in which the source
        has nothing where something is needed.
    beats_taken : :py:`Out(BEATS_BITS)`
        Since reset, but for one that was taken in the cycle before.
    records : :py:`Out(ReadPort.Signature(...))`
        Words of the records, two cycles later; reads whether it is enabled or not.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        layout = stage_layout(config)
        super().__init__({
            "start":   In(stream.Signature(start_layout(config.lanes, config.slots))),
            "done":    Out(stream.Signature(DONE)),
            "lanes":   Out(lanes_layout(config.lanes, config.slots)),
            "header":  In(stream.Signature(HEADER_LAYOUT)),
            "bad":     In(1),
            **{name: Out(stream.Signature(layout[name].shape)) for name in COMMANDS},
            "half":    Out(1),
            "is_last": Out(1),
            "idle":    Out(1),
            "ended":   In(1),
            "collecting": In(1),
            "complete": In(1),
            "takes":   In(1),
            "stalled": In(1),
            "digest":  In(32),
            "cycles":  Out(PASS_BITS),
            "stalls":  Out(PASS_BITS),
            "beats_taken": Out(BEATS_BITS),
            "records": Out(record_port(config.max_stages)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = StageDecoder(self._config)
        run, stage = Signal.like(self.start.p), Signal(stage_layout(self._config))
        index = Signal(16)
        begins, ends, records = Signal(), Signal(), Signal()
        m.d.comb += [
            decoder.header.eq(self.header.payload),
            decoder.logits.eq(run.logits),
            self.lanes.eq(run.lanes),
            begins.eq(taken(self.header)),
            self.half.eq(index[0]),
        ]
        # A register: the scalars begin by it, and are far away.
        last = Signal.like(index)
        with m.If(taken(self.start)):
            m.d.sync += last.eq(self.start.p.stages - 1)
        m.d.sync += self.is_last.eq(index == last)
        with m.If(begins):
            m.d.sync += stage.eq(decoder.word)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.start.ready.eq(1)
                with m.If(self.start.valid):
                    m.d.sync += [run.eq(self.start.payload), index.eq(0),
                                 self.done.p.status.eq(Status.OK)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.header.ready.eq(1)
                with m.If(self.bad):
                    m.next = "BAD"
                with m.If(self.header.valid):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.bad):
                    m.next = "BAD"
                with m.Elif(self.ended):
                    m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += records.eq(1)
                m.d.sync += [index.eq(index + 1), self.done.p.head.eq(stage.is_head)]
                m.next = "HEADER"
                with m.If(self.is_last):
                    m.next = "REST"
                    with m.If(self.complete):
                        m.next = "DONE"
            with m.State("REST"):
                # Behind an embedding row the reader may have padding to take.
                with m.If(self.complete):
                    m.next = "DONE"
                with m.Elif(self.collecting | self.header.valid | self.bad):
                    m.next = "BAD"
            with m.State("BAD"):
                m.d.sync += self.done.p.status.eq(Status.BAD_TAPE)
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "IDLE"

        # In the other states a pass has been given up, and waits for its reset.
        between = fsm.ongoing("HEADER") | fsm.ongoing("BEGIN") | fsm.ongoing("RECORD")
        m.d.sync += Assert(~self.ended | ~between, "a stage ends twice, or before it has begun")
        m.d.comb += ends.eq(fsm.ongoing("IDLE") | fsm.ongoing("REST") | fsm.ongoing("DONE"))
        m.d.sync += self.idle.eq(fsm.ongoing("IDLE"))
        self._issue(m, begins, decoder.word, stage)
        self._count(m, ~ends, records, index)
        return m

    def _issue(self, m, begins, word, stage):
        """Offer the commands of `stage`, which is `word` a cycle after it `begins`."""
        wanted = {
            "gains":     begins & word.gains.banks.any(),
            "quantiser": begins & ~word.is_embed,
            "scalars":   begins & ~word.is_embed,
            "row":       begins & word.is_embed,
            "gemv":      taken(self.quantiser),
            "elements":  begins & ~word.is_head,
            "head":      begins & word.is_head,
        }
        for name in COMMANDS:
            command = getattr(self, name)
            m.d.comb += command.payload.eq(stage[name])
            with m.If(command.ready):
                m.d.sync += command.valid.eq(0)
            with m.If(wanted[name]):
                m.d.sync += command.valid.eq(1)

    def _count(self, m, runs, records, index):
        """Count while a pass runs, and keep a record of each stage."""
        m.submodules.records = memory = Ram(
            shape=_RECORD, depth=self._config.max_stages)
        write, read = memory.write_port(), memory.read_port()
        cycles, stalls = Signal(PASS_BITS), Signal(PASS_BITS)
        beats_taken = Signal(BEATS_BITS)
        measures, words = Signal(table_layout(Measures)), Signal(32 * RECORD_WORDS)
        # Of each two words one, as the memory is slow.
        odd, halved = Signal(), Signal(32 * RECORD_WORDS // 2)
        took = Signal()             # a beat, a cycle ago: the sum of them all is long
        m.d.comb += [
            write.en.eq(records),
            write.addr.eq(index),
            write.data.digest.eq(self.digest),
            write.data.cycles.eq(cycles),
            write.data.stalls.eq(stalls),
            self.cycles.eq(cycles),
            self.stalls.eq(stalls),
            self.beats_taken.eq(beats_taken),
            read.addr.eq(self.records.addr >> exact_log2(RECORD_WORDS)),
            *(measures[name].eq(read.data[name]) for name, _ in _RECORD),
            words.eq(measures),
            self.records.data.eq(halved.word_select(
                delay(m, self.records.addr[1:exact_log2(RECORD_WORDS)], 2, name="pair"), 32)),
        ]
        m.d.sync += [
            odd.eq(self.records.addr[0]),
            halved.eq(Cat(Mux(odd, words[n + 32:n + 64], words[n:n + 32])
                          for n in range(0, len(words), 64))),
            took.eq(self.takes),
            beats_taken.eq(beats_taken + took),
        ]
        with m.If(runs):
            m.d.sync += [cycles.eq(cycles + 1), stalls.eq(stalls + self.stalled)]
        with m.If(taken(self.start)):
            m.d.sync += [cycles.eq(0), stalls.eq(0)]
