"""The player's command stream and what it delivers, proved without a bound on time.

The proof knows of the player what its users see: moves and bytes in, commands of the memory and
beats out. The memory answers every read in order, after any time.
"""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring

from tritstream.formats import UNIT
from tritstream_hw.memory.player import Player, Sink
from tritstream_hw.memory.port import MOST_BEATS
from tritstream_hw.stream.transfer import taken
from tritstream_sim.agents.contract import prove, stands

UNITS = 9                   # more beats than two requests ask for, and no power of two
BEATS = UNITS * UNIT        # a beat is a byte here


class PlayerContract(wiring.Component):
    """A player whose neighbours keep their contracts, and which must keep its own."""

    def __init__(self):
        self.dut = Player(beat_bytes=1, memory_units=UNITS)
        super().__init__(self.dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        for name in ("control", "memory", "accelerator"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(self.dut, name))
        m.d.comb += self.dut.abandon.eq(self.abandon)

        # Of the latest move from the memory: the next beat, and how many are not asked for. The
        # last request of the move before may be late: the memory has not taken it yet.
        self.next_read, self.unread = Signal(range(BEATS + 1)), Signal(range(BEATS + 1))
        self.next_late, self.late = Signal(range(BEATS + 1)), Signal(range(BEATS + 1))
        self.due = Signal(range(2 * BEATS))         # beats of moves from the memory, not delivered
        self.bytes_due = Signal(32 + 6)             # not taken from the link
        self.next_write = Signal(range(BEATS + 1))
        self.outstanding = Signal(range(4 * MOST_BEATS))    # beats that the memory owes
        self.stale = Signal(range(4 * MOST_BEATS))          # of these, those of an abandoned pass
        self.fresh = Signal()                       # a read belongs to a move that still counts
        self._neighbours(m)
        self._streams(m)
        self._reads(m)
        self._beats(m)
        self._link(m)
        self._invariants(m)
        return m

    def _neighbours(self, m):
        """Moves name what there is, and stand; the memory gives what was asked for, and no more."""
        move, memory = self.control.command, self.memory
        abandoned = Signal()
        m.d.sync += abandoned.eq(self.abandon)
        inside = move.p.unit + move.p.units <= UNITS
        for stream in (move, self.control.bytes):
            m.d.comb += Assume(stands(m, stream) | abandoned)
        m.d.comb += [
            Assume(stands(m, memory.data)),
            Assume(~memory.data.valid | (self.outstanding != 0)),
            Assume(inside | (move.p.streamed & (move.p.sink == Sink.ACCELERATOR))),
            Assume(Mux(move.p.streamed, move.p.sink != Sink.DIGEST, move.p.sink != Sink.MEMORY)),
            Assume(move.p.sink.as_value() != 3),
            Assume(~move.p.last | (move.p.units != 0)),
        ]
        # Who drops beats of a move drops all that are left of it.
        dropped = Signal()
        m.d.sync += dropped.eq(self.control.drop & ~self.control.idle & ~self.abandon)
        m.d.comb += Assume(~dropped | self.control.drop)

    def _streams(self, m):
        """Offers stand: commands always, beats unless they are dropped or abandoned."""
        abandoned = Signal()
        m.d.sync += abandoned.eq(self.abandon)
        m.d.comb += [
            Assert(stands(m, self.memory.command)),
            Assert(stands(m, self.accelerator) | abandoned | self.control.drop),
            Assert(stands(m, self.control.digest) | abandoned),
        ]

    def _reads(self, m):
        """Each beat of each move is asked for once, in order, and none beyond the memory."""
        move, command = self.control.command, self.memory.command
        asks = taken(command) & ~command.p.write
        with m.If(command.valid):
            m.d.comb += Assert(command.p.beat + command.p.beats <= BEATS)
            m.d.comb += Assert((command.p.beats != 0) & (command.p.beats <= MOST_BEATS))
        late = self.late != 0
        with m.If(asks & late):
            m.d.comb += [Assert(command.p.beat == self.next_late),
                         Assert(command.p.beats == self.late)]
            m.d.sync += self.late.eq(0)
        with m.If(asks & ~late & self.fresh):
            m.d.comb += [Assert(command.p.beat == self.next_read),
                         Assert(command.p.beats <= self.unread)]
            m.d.sync += [self.next_read.eq(self.next_read + command.p.beats),
                         self.unread.eq(self.unread - command.p.beats)]
        with m.If(taken(move) & ~move.p.streamed):
            m.d.sync += [self.next_read.eq(move.p.unit * UNIT),
                         self.unread.eq(move.p.units * UNIT), self.fresh.eq(1)]
            with m.If(~asks):
                m.d.comb += Assert(~late | (self.unread == 0))
                with m.If(~late):
                    m.d.sync += [self.next_late.eq(self.next_read), self.late.eq(self.unread)]
            with m.Else():
                m.d.comb += Assert(late | (command.p.beats == self.unread) | ~self.fresh)
        with m.If(self.abandon):
            m.d.sync += [self.fresh.eq(0), self.unread.eq(0), self.late.eq(0)]

    def _beats(self, m):
        """What is delivered was asked for by a move that counts, and its last beat is marked."""
        move, memory, sink = self.control.command, self.memory, self.dut.move.sink
        asked = Mux(taken(memory.command) & ~memory.command.p.write, memory.command.p.beats, 0)
        comes = taken(memory.data)
        m.d.sync += self.outstanding.eq(self.outstanding + asked - comes)
        with m.If(self.abandon):
            m.d.sync += self.stale.eq(self.outstanding + asked - comes)
        with m.Else():
            m.d.sync += self.stale.eq(self.stale + Mux(self.fresh, 0, asked)
                                      - (comes & (self.stale != 0)))

        delivers = comes & (self.stale == 0)
        named = Mux(taken(move) & ~move.p.streamed, move.p.units * UNIT, 0)
        m.d.sync += self.due.eq(Mux(self.abandon, 0, self.due + named - delivers))
        offers = self.control.digest.valid | (
            self.accelerator.valid & ~self.dut.gearbox.o.valid)
        with m.If(offers):
            m.d.comb += [Assert(memory.data.valid & (self.stale == 0)), Assert(self.due != 0)]
            beat = Mux(sink == Sink.DIGEST, self.control.digest.p.last, self.accelerator.p.last)
            m.d.comb += Assert(beat == (self.dut.move.last & (self.due == 1)))
        with m.If(delivers & ~self.control.drop):
            m.d.comb += Assert(offers)              # nothing is lost
        with m.If(self.control.idle):
            m.d.comb += Assert((self.due == 0) & (self.bytes_due == 0))

    def _link(self, m):
        """Of the link, as many bytes are taken as were named; they are written one by one."""
        move, gearbox, writes = self.control.command, self.dut.gearbox, self.dut.writes.i
        begins = taken(move) & move.p.streamed
        with m.If(taken(self.control.bytes)):
            m.d.comb += Assert(self.bytes_due != 0)
        left = self.bytes_due - taken(self.control.bytes)
        m.d.sync += self.bytes_due.eq(
            Mux(self.abandon, 0, Mux(begins, move.p.units * UNIT, left)))
        with m.If(self.accelerator.valid & gearbox.o.valid):
            m.d.comb += Assert(self.accelerator.p.last
                               == (self.dut.move.last & (self.bytes_due == 0)))
        with m.If(taken(writes)):
            m.d.comb += [Assert(writes.p.beat == self.next_write), Assert(writes.p.beat < BEATS)]
            m.d.sync += self.next_write.eq(self.next_write + 1)
        with m.If(taken(move)):
            m.d.sync += self.next_write.eq(move.p.unit * UNIT)

    def _invariants(self, m):
        """Add what induction needs to know: how the player's own numbers stand to these."""
        player, fetcher, writes = self.dut, self.dut.fetcher, self.dut.writes.o
        request = fetcher.request
        pending = Mux(request.valid, request.p.beats, 0)
        abandoned = Signal()
        m.d.sync += abandoned.eq(self.abandon)
        most = Mux(fetcher.left < MOST_BEATS, fetcher.left, MOST_BEATS)
        to_memory = player.move.streamed & (player.move.sink == Sink.MEMORY)
        held = self.bytes_due + player.gearbox.o.valid
        m.d.comb += [
            Assert(~fetcher.asked | (fetcher.left == 0)),
            Assert(~fetcher.more | ((fetcher.left != 0) & (fetcher.count == most))),
            Assert(fetcher.under_way == self.outstanding + pending),
            Assert(fetcher.under_way <= 2 * MOST_BEATS),
            Assert(fetcher.beat + fetcher.left <= BEATS),
            Assert(~request.valid | ((request.p.beats != 0) & (request.p.beats <= MOST_BEATS)
                                     & (request.p.beat + request.p.beats <= BEATS))),
            Assert(self.stale <= self.outstanding),
            Assert(fetcher.dropping | (self.stale == 0)),
            Assert(~fetcher.dropping | ((fetcher.left == 0) & ~self.fresh & (self.due == 0)
                                        & (self.stale == self.outstanding))),
            Assert(fetcher.dropping | (self.due == fetcher.left + fetcher.under_way)),
            Assert(fetcher.dropping | (self.unread + self.late == fetcher.left + pending)),
            Assert(~self.fresh | (self.next_read + self.unread == fetcher.beat + fetcher.left)),
            Assert(~request.valid | ~self.fresh | (request.p.beat == Mux(
                self.late != 0, self.next_late, self.next_read))),
            Assert((self.late == 0) | (self.fresh & (self.late == pending))),
            Assert(self.fresh | (self.unread == 0)),
            Assert(player.expects == (self.bytes_due != 0)),
            Assert(~player.expects | (player.left == self.bytes_due)),
            Assert((held == 0) | (player.move.streamed & fetcher.idle)),
            Assert((self.due == 0) | ~player.move.streamed),
            Assert(~to_memory | (held == 0) | self.control.drop
                   | ((player.beat == self.next_write) & (player.beat + held <= BEATS))),
            Assert(~writes.valid | (writes.p.write & (writes.p.beats == 1)
                                    & (writes.p.beat < BEATS))),
        ]


def test_player(tmp_path):
    """Beats are asked for once, in order and in range; what was abandoned is never delivered."""
    prove(PlayerContract(), tmp_path, depth=2)
