"""Commands that name places of a memory: WRITE, DIGEST, READ, STORE, KEEP and RECALL."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Code, Space, Status
from tritstream.link.spaces import WRITABLE
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import Reply
from tritstream_hw.control.spaces import WORD
from tritstream_hw.memory.parts import Parts, part_bytes
from tritstream_hw.memory.player import Sink, move_layout
from tritstream_hw.memory.port import played_layout

__all__ = ["Access"]

CODES = (Code.WRITE, Code.DIGEST, Code.READ, Code.STORE, Code.KEEP, Code.RECALL)


class Access(wiring.Component):
    """Checks what is named against the size of its space, then moves units or words.

    The memory of the image is moved in units, by the player; READ and STORE move the words of a
    space one by one, about nine cycles each. So does KEEP, in seven, as bytes that the player takes
    in place of the link's; and RECALL, in three, or more where a beat has no whole words.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_units : int
        Size of the memory of the image; 0 if there is none, when nobody gives KEEP and RECALL.
    space_words : dict of Space to int
        Sizes of the spaces.

    Members
    -------
    write, digest, read, store, keep, recall, reply
        See :func:`command_members`.
    bytes : :py:`In(stream.Signature(8))`
        Data of STORE, consumed even if the command cannot be carried out.
    request, word
        See :class:`Spaces`.
    move, drop, idle
        See :class:`PlayerSignature`. The data of a WRITE that cannot be carried out are dropped.
    beats : :py:`In(stream.Signature(played_layout(P)))`
        What DIGEST and RECALL read.
    kept : :py:`Out(stream.Signature(8))`
        Data of KEEP, and zeros behind them until the player is idle. What it does not take then has
        to be dropped.
    """

    def __init__(self, *, beat_bytes: int, memory_units: int, space_words: dict[Space, int]):
        self._beat_bytes = beat_bytes
        self._memory_units = memory_units
        self._space_words = space_words
        super().__init__({
            **command_members(*CODES),
            "bytes": In(stream.Signature(8)),
            "request": Out(stream.Signature(WORD)),
            "word": In(stream.Signature(32)),
            "move": Out(stream.Signature(move_layout(memory_units))),
            "drop": Out(1),
            "idle": In(1),
            "beats": In(stream.Signature(played_layout(beat_bytes))),
            "kept": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.parts = parts = Parts(beat_bytes=self._beat_bytes)
        m.submodules.crc = crc = Crc32(data_bits=len(parts.o.payload))
        wiring.connect(m, wiring.flipped(self.beats), parts.i)
        commands = {code: getattr(self, code.name.lower()) for code in CODES}
        keeps, recalls = self.keep.valid, self.recall.valid
        says, away, fills = stream.Signature(8).create(), Signal(), Signal()
        reply = Reply(m, says, longest=6)
        m.d.comb += [
            self.reply.payload.eq(says.payload),
            self.reply.valid.eq(says.valid & ~away),
            self.kept.payload.eq(says.payload),     # 0 while nothing is said
            self.kept.valid.eq(says.valid & away | fills),
            says.ready.eq(Mux(away, self.kept.ready, self.reply.ready)),
        ]

        named = self.read.p         # of all that have words: the latest bytes
        for command in (self.write, self.digest):
            m.d.sync += Assert(
                ~command.valid | ((command.p.unit == named.address)
                                  & (command.p.units == named.words)), "another command's place")
        for command in (self.store, self.keep, self.recall):
            m.d.sync += Assert(~command.valid | (
                (command.p.space == named.space) & (command.p.address == named.address)
                & (command.p.words == named.words)), "another command's place")
        code, status = Signal(8), Signal(8)
        size, known = self._look_up(m, named.space)
        ok = status == Status.OK
        place = self.keep.p         # of KEEP and RECALL in the memory, in front of that
        unheld = self._beyond(m, place.unit, place.units, C(self._memory_units))
        outside = self._beyond(m, named.address, named.words, size) | (
            (keeps | recalls) & unheld)
        judgement = Mux(known != Status.OK, known, Mux(
            outside, C(Status.OUT_OF_RANGE, 8), C(Status.OK, 8)))
        address, nth = Signal(range(max(self._space_words.values()))), Signal(32, init=1)
        more = Signal()                             # there is an `nth` word; bytes are taken by it
        word, count = Signal(32), Signal(2)         # to be written, and its bytes
        part, step = parts.o.payload, part_bytes(self._beat_bytes)
        for one, command in commands.items():
            with m.If(command.valid):
                m.d.comb += code.eq(one)
        self._move_units(m, named, place, ok)

        # Apart from the states, so that a flip-flop's own reset lets `nth` begin.
        begins, advances = Signal(), Signal()
        with m.If(begins):
            m.d.sync += [address.eq(named.address), nth.eq(1), more.eq(named.words != 0)]
        with m.Elif(advances):
            m.d.sync += [address.eq(address + 1), nth.eq(nth + 1), more.eq(nth != named.words)]

        m.d.comb += [crc.data.eq(part), crc.valid.eq(parts.o.valid), parts.o.ready.eq(~recalls)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [crc.clear.eq(1), begins.eq(1)]
                m.d.sync += count.eq(0)
                with m.If(Cat(command.valid for command in commands.values()).any()):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += status.eq(judgement)
                m.next = "JUDGED"
            with m.State("JUDGED"):
                m.d.sync += Assert(status == judgement, "a place is judged before it is known")
                m.next = "STATUS"
                with m.If(self.write.valid | ((self.digest.valid | keeps | recalls) & ok)):
                    m.next = "MOVE"
                with m.If(self.store.valid):
                    m.next = "TAKE"

            with m.State("MOVE"):
                m.d.comb += self.move.valid.eq(1)
                with m.If(self.move.ready):
                    m.next = "MOVED"
                    with m.If(keeps):
                        m.next = "GET"
                    with m.If(recalls):
                        m.next = "TAKE"
            with m.State("MOVED"):
                with m.If(self.idle & ~parts.o.valid):
                    m.next = "STATUS"

            with m.State("TAKE"):
                m.d.comb += [self.bytes.ready.eq(more & ~recalls), parts.o.ready.eq(1)]
                with m.If(recalls):
                    # What the memory has behind the words is taken, and forgotten.
                    with m.If(parts.o.valid & more):
                        m.d.sync += [word.eq(Cat(word[len(part):], part)), count.eq(count + step)]
                        with m.If(count == 4 - step):
                            m.next = "PUT"
                    with m.Elif(self.idle & ~parts.o.valid):
                        m.next = "STATUS"
                with m.Elif(~more):
                    m.next = "STATUS"
                with m.Elif(self.bytes.valid):
                    m.d.sync += [word.eq(Cat(word[8:], self.bytes.payload)),
                                 count.eq(count + 1)]
                    with m.If(count == 3):
                        m.next = "PUT"
            with m.State("PUT"):
                m.d.comb += self.request.valid.eq(ok)
                with m.If(self.request.ready | ~ok):
                    m.d.comb += advances.eq(1)
                    m.next = "TAKE"

            with m.State("STATUS"):
                with m.If(self.digest.valid):
                    with m.If(reply.send(code, status, Mux(ok, crc.value[0], 0))):
                        m.next = "END"
                with m.Else():
                    with m.If(reply.send(code, status)):
                        m.next = "END"
                        with m.If(self.read.valid & ok):
                            m.next = "GET"
            with m.State("GET"):
                m.d.comb += [self.request.valid.eq(more), away.eq(keeps)]
                with m.If(self.word.valid):
                    sent = reply.send(self.word.payload)
                    m.d.comb += self.word.ready.eq(sent)
                    m.d.comb += advances.eq(sent)
                with m.If(~more):
                    m.next = "END"
                    with m.If(keeps):
                        m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += fills.eq(1)
                with m.If(self.idle):
                    m.next = "STATUS"
            with m.State("END"):
                m.d.comb += [command.ready.eq(1) for command in commands.values()]
                m.next = "IDLE"

        m.d.sync += Assert(~self.request.valid | (address < size), "a word beyond its space")
        m.d.comb += [
            self.request.p.space.eq(named.space),
            self.request.p.address.eq(address),
            self.request.p.write.eq(self.store.valid | recalls),
            self.request.p.data.eq(word),
        ]
        return m

    def _beyond(self, m, first, count, size):
        """Return what `beyond` does, of places that have been named a cycle before."""
        bits = len(size)
        end, far = Signal(bits + 1), Signal()
        m.d.sync += [end.eq(first[:bits] + count[:bits]),
                     far.eq(first[bits:].any() | count[bits:].any())]
        return far | (end > size)

    def _look_up(self, m, space):
        """Return size and status of what is named, in the second cycle of a command.

        The status is that of a space that cannot be used so, whatever is named of it.
        """
        most = max(self._memory_units, *self._space_words.values())
        size, known = Signal(range(most + 1)), Signal(8)
        m.d.sync += known.eq(Status.UNKNOWN_SPACE)
        with m.If(self.write.valid | self.digest.valid):
            m.d.sync += [size.eq(self._memory_units),
                         known.eq(Status.OK if self._memory_units else Status.NO_MEMORY)]
        with m.Else():
            with m.Switch(space):
                for one, words in self._space_words.items():
                    with m.Case(one):
                        m.d.sync += size.eq(words)
                        with m.If(self.read.valid | self.keep.valid | C(one in WRITABLE)):
                            m.d.sync += known.eq(Status.OK)
        return size, known

    def _move_units(self, m, named, place, ok):
        """Say what the player is let do."""
        to_memory = self.write.valid | self.keep.valid
        words = self.keep.valid | self.recall.valid
        m.d.comb += [
            self.move.p.streamed.eq(to_memory),
            self.move.p.sink.eq(Mux(to_memory, Sink.MEMORY, Sink.DIGEST)),
            self.move.p.unit.eq(Mux(words, place.unit, named.address)),
            self.move.p.units.eq(Mux(words, place.units, named.words)),
            self.drop.eq(self.write.valid & ~ok),
        ]
