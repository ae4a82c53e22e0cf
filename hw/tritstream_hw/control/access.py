"""WRITE, DIGEST, READ and STORE: whatever names places of a memory."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Code, Space, Status
from tritstream.link.spaces import WRITABLE
from tritstream_hw.arithmetic.bounds import beyond
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import Reply
from tritstream_hw.control.spaces import WORD
from tritstream_hw.memory.checksum import Checksum
from tritstream_hw.memory.player import Sink, move_layout
from tritstream_hw.memory.port import played_layout

__all__ = ["Access"]


class Access(wiring.Component):
    """Checks what is named against the size of its space, then moves units or words.

    The memory of the image is moved in units, by the player; READ and STORE move the words of a
    space one by one, about nine cycles each.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_units : int
        Size of the memory of the image; 0 if there is none.
    space_words : dict of Space to int
        Sizes of the spaces.

    Members
    -------
    write, digest, read, store, reply
        See :func:`command_members`.
    bytes : :py:`In(stream.Signature(8))`
        Data of STORE, consumed even if the command cannot be carried out.
    request, word
        See :class:`Spaces`.
    move, drop, idle
        See :class:`PlayerSignature`. The data of a WRITE that cannot be carried out are dropped.
    beats : :py:`In(stream.Signature(played_layout(P)))`
        What DIGEST reads.
    """

    def __init__(self, *, beat_bytes: int, memory_units: int, space_words: dict[Space, int]):
        self._beat_bytes = beat_bytes
        self._memory_units = memory_units
        self._space_words = space_words
        super().__init__({
            **command_members(Code.WRITE, Code.DIGEST, Code.READ, Code.STORE),
            "bytes": In(stream.Signature(8)),
            "request": Out(stream.Signature(WORD)),
            "word": In(stream.Signature(32)),
            "move": Out(stream.Signature(move_layout(memory_units))),
            "drop": Out(1),
            "idle": In(1),
            "beats": In(stream.Signature(played_layout(beat_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.checksum = checksum = Checksum(beat_bytes=self._beat_bytes)
        wiring.connect(m, wiring.flipped(self.beats), checksum.i)
        reply = Reply(m, self.reply, longest=6)

        named = self.read.p         # of all four: the arguments of each are the latest bytes
        for command in (self.write, self.digest):
            m.d.sync += Assert(
                ~command.valid | ((command.p.unit == named.address)
                                  & (command.p.units == named.words)), "another command's place")
        m.d.sync += Assert(~self.store.valid | (self.store.p == named), "another command's place")
        code, status = Signal(8), Signal(8)
        size, known = self._look_up(m, named.space)
        ok = status == Status.OK
        judgement = Mux(known != Status.OK, known, Mux(
            beyond(named.address, named.words, size), C(Status.OUT_OF_RANGE, 8), C(Status.OK, 8)))
        address, nth = Signal(range(max(self._space_words.values()))), Signal(32, init=1)
        more = Signal()                             # there is an `nth` word; bytes are taken by it
        word, count = Signal(32), Signal(2)         # to be written, and its bytes
        m.d.comb += code.eq(Mux(self.write.valid, Code.WRITE, Mux(
            self.digest.valid, Code.DIGEST, Mux(self.read.valid, Code.READ, Code.STORE))))
        self._move_units(m, named, ok)

        # Apart from the states, so that a flip-flop's own reset lets `nth` begin.
        begins, advances = Signal(), Signal()
        with m.If(begins):
            m.d.sync += [address.eq(named.address), nth.eq(1), more.eq(named.words != 0)]
        with m.Elif(advances):
            m.d.sync += [address.eq(address + 1), nth.eq(nth + 1), more.eq(nth != named.words)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [checksum.clear.eq(1), begins.eq(1)]
                with m.If(self.write.valid | self.digest.valid
                          | self.read.valid | self.store.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += status.eq(judgement)
                m.next = "JUDGED"
            with m.State("JUDGED"):
                m.d.sync += Assert(status == judgement, "a place is judged before it is known")
                m.next = "STATUS"
                with m.If(self.write.valid | (self.digest.valid & ok)):
                    m.next = "MOVE"
                with m.If(self.store.valid):
                    m.next = "TAKE"

            with m.State("MOVE"):
                m.d.comb += self.move.valid.eq(1)
                with m.If(self.move.ready):
                    m.next = "MOVED"
            with m.State("MOVED"):
                with m.If(self.idle & ~checksum.busy):
                    m.next = "STATUS"

            with m.State("TAKE"):
                m.d.comb += self.bytes.ready.eq(more)
                with m.If(~more):
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
                    with m.If(reply.send(code, status, Mux(ok, checksum.crc, 0))):
                        m.next = "END"
                with m.Else():
                    with m.If(reply.send(code, status)):
                        m.next = "END"
                        with m.If(self.read.valid & ok):
                            m.next = "GET"
            with m.State("GET"):
                m.d.comb += self.request.valid.eq(more)
                with m.If(self.word.valid):
                    sent = reply.send(self.word.payload)
                    m.d.comb += self.word.ready.eq(sent)
                    m.d.comb += advances.eq(sent)
                with m.If(~more):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [command.ready.eq(1)
                             for command in (self.write, self.digest, self.read, self.store)]
                m.next = "IDLE"

        m.d.sync += Assert(~self.request.valid | (address < size), "a word beyond its space")
        m.d.comb += [
            self.request.p.space.eq(named.space),
            self.request.p.address.eq(address),
            self.request.p.write.eq(self.store.valid),
            self.request.p.data.eq(word),
        ]
        return m

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
                        with m.If(self.read.valid | C(one in WRITABLE)):
                            m.d.sync += known.eq(Status.OK)
        return size, known

    def _move_units(self, m, named, ok):
        """Say what WRITE and DIGEST let the player do."""
        m.d.comb += [
            self.move.p.streamed.eq(self.write.valid),
            self.move.p.sink.eq(Mux(self.write.valid, Sink.MEMORY, Sink.DIGEST)),
            self.move.p.unit.eq(named.address),
            self.move.p.units.eq(named.words),
            self.drop.eq(self.write.valid & ~ok),
        ]
