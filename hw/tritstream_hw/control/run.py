"""RUN: passes of the accelerator, each fed with the choice of the one before."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream.link.protocol import Code, RunFlag, Status
from tritstream_hw.control.messages import CONFIGURATION, command_members, has
from tritstream_hw.control.reply import item
from tritstream_hw.memory.player import PASS
from tritstream_hw.ports import BEST, DONE, SCALE, START

__all__ = ["Run"]


class Run(wiring.Component):
    """Carries out RUN.

    The row address of the next pass is known five cycles after the last byte of an answer has been
    accepted; everything else is up to the source and the accelerator.

    Parameters
    ----------
    config : :class:`BuildConfig`
        For `candidates`, `max_stages` and `memory_bytes`.

    Members
    -------
    command, reply
        See :func:`command_members`.
    configuration : :py:`In(CONFIGURATION)`
        Of the latest CONFIGURE.
    play, drop : :py:`Out(stream.Signature(PASS))`, :py:`Out(1)`
        To the :class:`PassSource`.
    start, done, logits, candidate, best, scale, digest, cycles, stalls
        See :class:`AcceleratorSignature`.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({
            **command_members(Code.RUN),
            "configuration": In(CONFIGURATION),
            "play": Out(stream.Signature(PASS)),
            "drop": Out(1),
            "start": Out(stream.Signature(START)),
            "done": In(stream.Signature(DONE)),
            "logits": In(stream.Signature(signed(32))),
            "candidate": Out(8),
            "best": In(BEST),
            "scale": In(SCALE),
            "digest": In(32),
            "cycles": In(64),
            "stalls": In(64),
        })

    def _memory_status(self, token, row):
        """Status of a pass from memory, with its embedding row at unit `row`."""
        units = self._config.memory_bytes // UNIT
        if units == 0:
            return C(Status.NO_MEMORY, 8)
        configuration, command = self.configuration, self.command.p
        beyond = ((row + configuration.row_units > units)
                  | (configuration.tape_unit + command.tape_units > units)
                  | (command.count == 0))
        return Mux(token >= configuration.vocab, C(Status.BAD_TOKEN, 8),
                   Mux(beyond, C(Status.OUT_OF_RANGE, 8), C(Status.OK, 8)))

    def elaborate(self, platform):
        m = Module()
        command, configuration = self.command.p, self.configuration
        token, left, fresh = Signal(32), Signal(16), Signal()
        offset = Signal(32)                  # of the row, in units
        row = Signal(33)
        status, head, last = Signal(8), Signal(), Signal()
        candidates = Signal(8)
        played = Signal()                    # the source has played the whole pass

        # A token that does not fit is refused, so that the multiplier may be narrow.
        token_bits = self._config.token_bits
        m.d.sync += offset.eq(token[:token_bits] * configuration.row_units)
        m.d.sync += row.eq(configuration.rows_unit + offset)

        impossible = Signal()
        m.d.sync += impossible.eq((command.stages == 0)
                                  | (command.stages > self._config.max_stages)
                                  | (command.tape_units < configuration.lead_units))

        m.d.comb += [
            self.play.p.streamed.eq(has(command.flags, RunFlag.STREAMED)),
            self.play.p.tape.eq(configuration.tape_unit),
            self.play.p.lead_units.eq(configuration.lead_units),
            self.play.p.row.eq(row),
            self.play.p.row_units.eq(configuration.row_units),
            self.play.p.tape_units.eq(command.tape_units),
            self.start.p.fresh.eq(fresh),
            self.start.p.logits.eq(has(command.flags, RunFlag.LOGITS)),
            self.start.p.stages.eq(command.stages),
        ]
        with m.If(self.play.valid & self.play.ready):
            m.d.sync += played.eq(1)

        def answer(*values, then):
            m.d.comb += [self.reply.valid.eq(1), self.reply.payload.eq(item(*values))]
            with m.If(self.reply.ready):
                m.next = then

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [token.eq(command.token), left.eq(command.count)]
                m.d.sync += fresh.eq(has(command.flags, RunFlag.FRESH))
                with m.If(self.command.valid):
                    m.next = "OFFSET"
            with m.State("OFFSET"):
                m.next = "ROW"
            with m.State("ROW"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += played.eq(0)
                with m.If(impossible):
                    m.d.sync += status.eq(Status.OUT_OF_RANGE)
                with m.Elif(has(command.flags, RunFlag.STREAMED)):
                    m.d.sync += status.eq(Status.OK)
                with m.Else():
                    m.d.sync += status.eq(self._memory_status(token, row))
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "START"
                with m.If(status != 0):
                    m.next = "REFUSE"
                    with m.If(has(command.flags, RunFlag.STREAMED)):
                        m.next = "DROP"

            with m.State("START"):
                m.d.comb += self.start.valid.eq(1)
                with m.If(self.start.ready):
                    m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += self.play.valid.eq(~played)
                with m.If(self.logits.valid):
                    m.d.comb += [
                        self.reply.valid.eq(1),
                        self.reply.payload.eq(item(C(Code.LOGIT, 8), self.logits.payload)),
                        self.logits.ready.eq(self.reply.ready),
                    ]
                with m.Elif(self.done.valid):
                    m.d.comb += self.done.ready.eq(1)
                    m.d.sync += [status.eq(self.done.p.status), head.eq(self.done.p.head)]
                    m.next = "DROP"
            with m.State("DROP"):
                m.d.comb += [self.play.valid.eq(~played), self.drop.eq(1)]
                with m.If(played):
                    m.d.sync += [self.candidate.eq(0), candidates.eq(0)]
                    m.next = "LOOK"
                    with m.If(status != 0):
                        m.next = "REFUSE"
            with m.State("REFUSE"):
                answer(C(Code.RUN, 8), status, then="END")

            # How many candidates there are has to be known before the first one is sent.
            with m.State("LOOK"):
                m.next = "LOOK AGAIN"
            with m.State("LOOK AGAIN"):
                m.next = "COUNT"
            with m.State("COUNT"):
                with m.If(candidates == 0):
                    m.d.sync += token.eq(self.best.token)
                    m.d.sync += last.eq((left == 1) | has(command.flags, RunFlag.STREAMED)
                                        | ~head | ~self.best.valid
                                        | (self.best.token == configuration.stop_token))
                with m.If(head & self.best.valid & (candidates != self._config.candidates)):
                    m.d.sync += [candidates.eq(candidates + 1), self.candidate.eq(candidates + 1)]
                    m.next = "LOOK"
                with m.Else():
                    m.d.sync += self.candidate.eq(0)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                answer(C(Code.RUN, 8), status, last, C(0, 7), candidates,
                       self.scale.mantissa, self.scale.shift, then="LIST")
            with m.State("LIST"):
                m.next = "LIST AGAIN"
            with m.State("LIST AGAIN"):
                m.next = "BEST"
            with m.State("BEST"):
                with m.If(self.candidate == candidates):
                    m.next = "MEASURES"
                with m.Else():
                    answer(self.best.token, self.best.acc, then="LIST")
                    with m.If(self.reply.ready):
                        m.d.sync += self.candidate.eq(self.candidate + 1)
            with m.State("MEASURES"):
                answer(self.digest, then="CYCLES")
            with m.State("CYCLES"):
                answer(self.cycles, then="STALLS")
            with m.State("STALLS"):
                answer(self.stalls, then="NEXT")
            with m.State("NEXT"):
                m.d.sync += [left.eq(left - 1), fresh.eq(0)]
                m.next = "OFFSET"
                with m.If(last):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += self.command.ready.eq(1)
                m.next = "IDLE"
        return m
