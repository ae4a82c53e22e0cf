"""Sequencer: takes a pass stage by stage through the accelerator, and keeps the record of each."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.image.tape import Op
from tritstream.link.messages import RECORD_WORDS, Measures
from tritstream.link.protocol import Status
from tritstream_hw.layouts import table_layout
from tritstream_hw.ports import DONE, START
from tritstream_hw.tape.layouts import HEADER_LAYOUT

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Runs the stages of a pass one after the other.

    A stage begins when its header is there and the stage before it has ended, and takes two cycles
    of the sequencer's own and one to write its record.

    Members
    -------
    start : :py:`In(stream.Signature(START))`, done : :py:`Out(stream.Signature(DONE))`
        One of each per pass.
    header : :py:`In(stream.Signature(HEADER_LAYOUT))`
        From the tape reader.
    bad : :py:`In(1)`
        The tape cannot be read; ends the pass.
    stage : :py:`Out(HEADER_LAYOUT)`
        Header of the stage that runs.
    run : :py:`Out(START)`
        The pass that runs.
    begin : :py:`Out(1)`
        Strobe: `stage` has just changed, everything is to start.
    ended : :py:`In(1)`
        The stage has ended. Not looked at while `begin`.
    stalled : :py:`In(1)`
        The source has nothing where something could be taken; counted.
    digest : :py:`In(32)`
        Running digest.
    cycles, stalls : :py:`Out(64)`
        Of this pass so far, or of the one that ended last.
    record_address : :py:`In(32)`, record_data : :py:`Out(32)`
        Words of the records, one cycle later.
    """

    def __init__(self, config: BuildConfig):
        self.config = config
        super().__init__({
            "start":   In(stream.Signature(START)),
            "done":    Out(stream.Signature(DONE)),
            "header":  In(stream.Signature(HEADER_LAYOUT)),
            "bad":     In(1),
            "stage":   Out(HEADER_LAYOUT),
            "run":     Out(START),
            "begin":   Out(1),
            "ended":   In(1),
            "stalled": In(1),
            "digest":  In(32),
            "cycles":  Out(64),
            "stalls":  Out(64),
            "record_address": In(32),
            "record_data":    Out(32),
        })

    def elaborate(self, platform):
        m = Module()

        records = Memory(shape=data.ArrayLayout(32, RECORD_WORDS), depth=self.config.max_stages,
                         init=[])
        m.submodules.records = records
        write, read = records.write_port(), records.read_port()

        index = Signal(16)
        measures = Signal(table_layout(Measures))
        word = Signal(range(RECORD_WORDS))
        m.d.sync += word.eq(self.record_address)
        m.d.comb += [
            write.addr.eq(index),
            measures.digest.eq(self.digest),
            measures.cycles.eq(self.cycles),
            measures.stalls.eq(self.stalls),
            write.data.eq(measures),
            read.addr.eq(self.record_address >> exact_log2(RECORD_WORDS)),
            self.record_data.eq(read.data[word]),
        ]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.start.ready.eq(1)
                with m.If(self.start.valid):
                    m.d.sync += [
                        self.run.eq(self.start.payload), index.eq(0),
                        self.cycles.eq(0), self.stalls.eq(0), self.done.p.status.eq(Status.OK),
                    ]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.header.ready.eq(1)
                with m.If(self.bad):
                    m.d.sync += self.done.p.status.eq(Status.BAD_TAPE)
                    m.next = "DONE"
                with m.If(self.header.valid):
                    m.d.sync += self.stage.eq(self.header.payload)
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.begin.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.ended):
                    m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += write.en.eq(1)
                m.d.sync += [
                    index.eq(index + 1), self.done.p.head.eq(self.stage.op == Op.HEAD),
                ]
                m.next = "HEADER"
                with m.If(index + 1 == self.run.stages):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "IDLE"

        with m.If(~fsm.ongoing("IDLE") & ~fsm.ongoing("DONE")):
            m.d.sync += [self.cycles.eq(self.cycles + 1),
                         self.stalls.eq(self.stalls + self.stalled)]
        return m
