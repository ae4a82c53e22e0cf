"""RUN: passes of the accelerator, each fed with the choice of the one before."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.link.messages import Lane, PassEnd
from tritstream.link.protocol import Code, LaneFlag, RunFlag, Status
from tritstream_hw.arithmetic.bounds import at_most
from tritstream_hw.control.messages import CONFIGURATION, command_members, has
from tritstream_hw.control.playlist import Playlist
from tritstream_hw.control.reply import Reply
from tritstream_hw.layouts import table_layout
from tritstream_hw.memory.player import move_layout
from tritstream_hw.ports import PASS_BITS, PassSignature

__all__ = ["Run"]


class Run(wiring.Component):
    """Carries out RUN.

    The row address of the next pass is known five cycles after the last byte of an answer has been
    accepted, six later for each token more; everything else is up to the source and the
    accelerator.

    Parameters
    ----------
    candidates : int
        Most candidates of an answer.
    token_bits : int
        Width of a token of the vocabulary.
    max_stages : int
        Most stages of a pass.
    memory_units : int
        Size of the memory; 0 if there is none.
    lanes, slots : int
        `T`, and states that the accelerator keeps.

    Members
    -------
    command, reply
        See :func:`command_members`.
    bytes : :py:`In(stream.Signature(8))`
        What follows the arguments, of which the tokens of a pass of several are taken; behind
        them, the next command.
    configuration : :py:`In(CONFIGURATION)`
        Of the latest CONFIGURE.
    move, drop, idle
        See :class:`PlayerSignature`.
    accelerator : :py:`Out(PassSignature(lanes=T, slots=slots))`
        What plays the pass.
    clear_digest : :py:`Out(1)`
        Strobe: the digest of each lane begins anew, with a pass of several.
    failed : :py:`Out(1)`
        Strobe: the accelerator has given a pass up, and has to be reset.
    """

    def __init__(self, *, candidates: int, token_bits: int, max_stages: int, memory_units: int,
                 lanes: int = 1, slots: int = 1):
        self._candidates = candidates
        self._token_bits = token_bits
        self._max_stages = max_stages
        self._memory_units = memory_units
        self._lanes, self._slots = lanes, slots
        super().__init__({
            **command_members(Code.RUN),
            "configuration": In(CONFIGURATION),
            "move": Out(stream.Signature(move_layout(memory_units))),
            "drop": Out(1),
            "idle": In(1),
            "bytes": In(stream.Signature(8)),
            "accelerator": Out(PassSignature(lanes=lanes, slots=slots)),
            "clear_digest": Out(1),
            "failed": Out(1),
        })

    def _memory_status(self, m, token, row):
        """Status of a pass from memory, with its embedding row at unit `row`.

        Token and command have to be there a cycle before it is used, for more than one comparison
        in a cycle takes long.
        """
        units = self._memory_units
        if units == 0:
            return C(Status.NO_MEMORY, 8)
        configuration, command = self.configuration, self.command.p
        unknown, outside = Signal(), Signal()
        # The last place from which a row fits, and the most units of a tape; negative if none do.
        last, most = (Signal(range(-(1 << len(taken)), units + 1), name=name) for name, taken in (
            ("last", configuration.row_units), ("most", configuration.tape_unit)))
        m.d.sync += [
            last.eq(units - configuration.row_units),
            most.eq(units - configuration.tape_unit),
            unknown.eq(token >= configuration.vocab),
            outside.eq((command.tape_units > most) | (command.count == 0)),
        ]
        return Mux(unknown, C(Status.BAD_TOKEN, 8),
                   Mux(outside | (row > last), C(Status.OUT_OF_RANGE, 8), C(Status.OK, 8)))

    def elaborate(self, platform):
        m = Module()
        command, configuration, accelerator = self.command.p, self.configuration, self.accelerator
        m.submodules.playlist = playlist = Playlist(memory_units=self._memory_units,
                                                    lanes=self._lanes)
        wiring.connect(m, playlist.o, wiring.flipped(self.move))
        play = playlist.i
        token, nth = Signal(32), Signal(16, init=1)     # of the run's passes
        tokens = Signal.like(accelerator.start.p.lanes)     # of a pass
        lane = Signal.like(tokens.last)                     # which is looked at, or answered
        together = command.lanes != 0 if self._lanes > 1 else C(0, 1)
        too_many = together & (command.lanes > self._lanes)
        offset = Signal(32)                  # of the row, in units
        row = Signal(33)
        status, head, last = Signal(8), Signal(), Signal()
        ranked = head & ~tokens.table[lane].body.any()
        candidates = Signal(range(self._candidates + 1))
        candidate = Signal.like(candidates)             # which is asked for
        following = Signal.like(candidate)
        most = Mux(has(command.flags, RunFlag.CANDIDATES), self._candidates, 1)
        named, played = Signal(), Signal()   # all of the pass has been asked for; it has gone
        goes_on = Signal()                   # behind the first pass of a run

        # A token that does not fit is refused, so that the multiplier may be narrow.
        m.d.sync += offset.eq(token[:self._token_bits] * configuration.row_units)
        m.d.sync += row.eq(configuration.rows_unit + offset)

        memory_status = self._memory_status(m, token, row)
        impossible, lead_bits = Signal(), len(configuration.lead_units)
        m.d.sync += impossible.eq((command.stages == 0)
                                  | ~at_most(command.stages, self._max_stages)
                                  | (~command.tape_units[lead_bits:].any() & (
                                      command.tape_units[:lead_bits] < configuration.lead_units)))

        m.d.comb += [
            play.p.streamed.eq(has(command.flags, RunFlag.STREAMED)),
            play.p.tape.eq(configuration.tape_unit),
            play.p.lead_units.eq(configuration.lead_units),
            play.p.last.eq(tokens.last),
            play.p.row_units.eq(configuration.row_units),
            play.p.tape_units.eq(command.tape_units),
            accelerator.start.p.lanes.eq(tokens),
            accelerator.lane.eq(lane),
            accelerator.candidate.eq(candidate),
            following.eq(candidate + 1),
            accelerator.start.p.logits.eq(has(command.flags, RunFlag.LOGITS)),
            accelerator.start.p.stages.eq(command.stages),
        ]
        # The last row is there as long as its token; those before it are kept.
        rows = Signal(data.ArrayLayout(len(row), self._lanes - 1), reset_less=True)
        m.d.comb += play.p.rows[-1].eq(row)
        for n, kept in enumerate(rows):
            m.d.comb += play.p.rows[n].eq(Mux(tokens.last == n, row, kept))
        with m.If(play.valid & play.ready):
            m.d.sync += named.eq(1)
        m.d.comb += played.eq(named & self.idle)
        looked = Signal.like(candidates)     # which candidate `best` is
        m.d.sync += [
            looked.eq(candidate),
            Assert(~accelerator.logits.valid | ~accelerator.done.valid,
                   "a pass has ended before its last logit was taken"),
        ]

        reply = Reply(m, self.reply, longest=PassEnd.SIZE)

        above = C(0, 64 - PASS_BITS)        # of a number of cycles

        def answer(*values, then):
            with m.If(reply.send(*values)):
                m.next = then

        # Apart from the states, so that a flip-flop's own reset lets `nth` begin.
        begins, next_begins = Signal(), Signal()
        with m.If(begins):
            m.d.sync += nth.eq(1)
        with m.Elif(next_begins):
            m.d.sync += nth.eq(nth + 1)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += begins.eq(1)
                m.d.sync += [token.eq(command.token), lane.eq(0),
                             tokens.eq(0), goes_on.eq(0)]
                m.d.sync += tokens.table[0].fresh.eq(has(command.flags, RunFlag.FRESH))
                with m.If(self.command.valid):
                    m.next = "OFFSET"
                    if self._lanes > 1:
                        self._begin_together(m, together, too_many, tokens, status)
            if self._lanes > 1:
                self._take_token(m, lane, token, tokens, status)
                with m.State("LOSE"):
                    m.d.comb += self.bytes.ready.eq(1)
                with m.State("AGAIN"):
                    m.next = "CHOSEN"
                with m.State("CHOSEN"):
                    m.d.sync += token.eq(accelerator.best.token)
                    m.next = "OFFSET"
            with m.State("OFFSET"):
                m.next = "ROW"
            with m.State("ROW"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += Assert(
                    (token >= configuration.vocab)
                    | (row == configuration.rows_unit + token * configuration.row_units),
                    "a row is checked before it is known, or is that of another token")
                m.d.sync += named.eq(0)
                with m.If(together & (status != Status.OK)):
                    m.d.sync += status.eq(status)
                with m.Elif(impossible):
                    m.d.sync += status.eq(Status.OUT_OF_RANGE)
                with m.Elif(configuration.row_units == 0):
                    m.d.sync += status.eq(Status.BAD_TOKEN)
                with m.Elif(has(command.flags, RunFlag.STREAMED)):
                    m.d.sync += status.eq(Status.OK)
                with m.Else():
                    m.d.sync += status.eq(memory_status)
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "START"
                with m.If(status != 0):
                    m.next = "STATUS"
                    with m.If(has(command.flags, RunFlag.STREAMED)):
                        m.next = "DROP"
                if self._lanes > 1:
                    with m.If(lane != tokens.last):
                        m.d.sync += [lane.eq(lane + 1), rows[lane].eq(row)]
                        m.next = "TOKEN"
                        with m.If(goes_on):
                            m.next = "AGAIN"

            with m.State("START"):
                m.d.comb += [accelerator.start.valid.eq(1), self.clear_digest.eq(together)]
                with m.If(accelerator.start.ready):
                    m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += play.valid.eq(~named)
                with m.If(accelerator.logits.valid):
                    m.d.comb += accelerator.logits.ready.eq(
                        reply.send(C(Code.LOGIT, 8), accelerator.logits.p.acc))
                with m.Elif(accelerator.done.valid):
                    m.d.comb += [accelerator.done.ready.eq(1),
                                 self.failed.eq(accelerator.done.p.status != Status.OK)]
                    m.d.sync += [status.eq(accelerator.done.p.status),
                                 head.eq(accelerator.done.p.head)]
                    m.next = "DROP"
            with m.State("DROP"):
                m.d.comb += [play.valid.eq(~named), self.drop.eq(1)]
                with m.If(played):
                    # A command that waits ends the run: so a host ends one that it has enough of.
                    m.d.sync += [
                        last.eq((nth == command.count) | has(command.flags, RunFlag.STREAMED)
                                | self.bytes.valid),
                        candidate.eq(0), candidates.eq(0), lane.eq(0)]
                    m.next = "STATUS"
            with m.State("STATUS"):
                with m.If(reply.send(C(Code.RUN, 8), status)):
                    m.next = "LOOK"
                    with m.If(status != 0):
                        m.next = "END"
                        if self._lanes > 1:
                            with m.If(too_many):
                                m.next = "LOSE"

            # How many candidates there are has to be known before the first one is sent.
            with m.State("LOOK"):
                m.next = "COUNT"
            with m.State("COUNT"):
                m.d.sync += Assert(looked == candidate, "an old candidate is counted")
                # A token that does not choose the next one of its conversation ends the run.
                with m.If((candidates == 0) & (
                        ~ranked | ~accelerator.best.valid | tokens.table[lane].follows.any()
                        | (accelerator.best.token == configuration.stop_token))):
                    m.d.sync += last.eq(1)
                with m.If(ranked & accelerator.best.valid & (candidates != most)):
                    m.d.sync += [candidates.eq(following), candidate.eq(following)]
                    m.next = "LOOK"
                with m.Else():
                    m.d.sync += candidate.eq(0)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                answer(candidates, C(0, 8 - len(candidates)),
                       accelerator.scale.mantissa, accelerator.scale.shift,
                       C(0, 8 - len(accelerator.scale.shift)), accelerator.digest, then="LIST")
            with m.State("LIST"):
                m.next = "BEST"
            with m.State("BEST"):
                with m.If(candidate == candidates):
                    # Where the tokens of the next pass are looked up, too.
                    m.d.sync += [candidate.eq(0), candidates.eq(0), lane.eq(0)]
                    m.next = "CLOSE"
                    if self._lanes > 1:
                        with m.If(lane != tokens.last):
                            m.d.sync += lane.eq(lane + 1)
                            m.next = "LOOK"
                with m.Else():
                    m.d.sync += Assert(looked == candidate, "an old candidate is sent")
                    with m.If(reply.send(accelerator.best.token, accelerator.best.acc)):
                        m.d.sync += candidate.eq(following)
                        m.next = "LIST"
            with m.State("CLOSE"):
                answer(last, C(0, 7), accelerator.cycles, above, accelerator.stalls, above,
                       then="NEXT")
            with m.State("NEXT"):
                m.d.comb += next_begins.eq(1)
                m.d.sync += [goes_on.eq(1), token.eq(accelerator.best.token)]
                m.d.sync += [known.fresh.eq(0) for known in tokens.table]
                m.next = "OFFSET"
                with m.If(last):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += self.command.ready.eq(1)
                m.next = "IDLE"
        return m

    def _begin_together(self, m, together, too_many, tokens, status):
        """Go on with the tokens of a pass of several; or with none, if they are too many."""
        with m.If(together):
            m.d.sync += [tokens.last.eq(self.command.p.lanes - 1), status.eq(Status.OK)]
            m.next = "TOKEN"
            with m.If(too_many):
                m.d.sync += status.eq(Status.OUT_OF_RANGE)
                m.next = "STATUS"

    def _take_token(self, m, lane, token, tokens, status):
        """Take a token that shares the pass, what is said of it included."""
        entry, count = Signal(8 * Lane.SIZE), Signal(range(Lane.SIZE))
        one = data.View(table_layout(Lane), entry)
        with m.State("TOKEN"):
            m.d.comb += self.bytes.ready.eq(1)
            with m.If(self.bytes.valid):
                m.d.sync += [entry.eq(Cat(entry[8:], self.bytes.payload)), count.eq(count + 1)]
                with m.If(count == Lane.SIZE - 1):
                    m.d.sync += count.eq(0)
                    m.next = "PLACE"
        with m.State("PLACE"):
            follows = one.flags[exact_log2(LaneFlag.FOLLOWS)]
            m.d.sync += token.eq(one.token)
            known = tokens.table[lane]
            m.d.sync += [known.slot.eq(one.slot), known.follows.eq(follows),
                         known.fresh.eq(one.flags[exact_log2(LaneFlag.FRESH)]),
                         known.body.eq(one.flags[exact_log2(LaneFlag.BODY)])]
            with m.If((one.slot >= self._slots) | (follows & (lane == 0))):
                m.d.sync += status.eq(Status.OUT_OF_RANGE)
            m.next = "OFFSET"
