"""READ and STORE: the memories of the accelerator, word by word."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.messages import Counters
from tritstream.link.protocol import Code, Space, Status
from tritstream_hw.control.messages import command_members
from tritstream_hw.control.reply import item
from tritstream_hw.ports import DebugSignature

__all__ = ["COUNTER_WORDS", "Access"]

COUNTER_WORDS = Counters.SIZE // 4
"""Words of the space of counters."""

WRITABLE = (Space.VECTORS, Space.STATE)


class Access(wiring.Component):
    """Carries out READ and STORE, about six cycles per word.

    Parameters
    ----------
    sizes : dict of Space to int
        Words of the accelerator's spaces.

    Members
    -------
    read, store, reply
        See :func:`command_members`.
    bytes : :py:`In(stream.Signature(8))`
        Data of STORE, consumed even if the command cannot be carried out.
    memory : :py:`Out(DebugSignature())`
        Debug port of the accelerator.
    counters : :py:`In(data.ArrayLayout(32, COUNTER_WORDS))`
        Content of the space of counters.
    """

    def __init__(self, sizes: dict[Space, int]):
        self._sizes = {**sizes, Space.COUNTERS: COUNTER_WORDS}
        super().__init__({
            **command_members(Code.READ, Code.STORE),
            "bytes": In(stream.Signature(8)),
            "memory": Out(DebugSignature()),
            "counters": In(data.ArrayLayout(32, COUNTER_WORDS)),
        })

    def elaborate(self, platform):
        m = Module()
        memory = self.memory
        code, status = Signal(8), Signal(8)
        space, end = Signal(8), Signal(33)   # asked for; the end of what is asked for
        size = Signal(range(max(self._sizes.values()) + 1))
        left, word, count = Signal(32), Signal(32), Signal(2)

        def begin(this, command):
            m.d.sync += [
                code.eq(this),
                space.eq(command.p.space),
                memory.space.eq(command.p.space),
                memory.address.eq(command.p.address),
                left.eq(command.p.words),
            ]

        def advance():
            m.d.sync += [memory.address.eq(memory.address + 1), left.eq(left - 1)]

        m.d.comb += memory.write_data.eq(word)
        with m.FSM():
            with m.State("IDLE"):
                m.next = "ADD"
                with m.If(self.read.valid):
                    begin(Code.READ, self.read)
                with m.Elif(self.store.valid):
                    begin(Code.STORE, self.store)
                with m.Else():
                    m.next = "IDLE"
            with m.State("ADD"):
                m.d.sync += [end.eq(memory.address + left), status.eq(Status.UNKNOWN_SPACE)]
                with m.Switch(space):
                    for known, words in self._sizes.items():
                        with m.Case(known):
                            m.d.sync += size.eq(words)
                            with m.If((code == Code.READ) | C(known in WRITABLE)):
                                m.d.sync += status.eq(Status.OK)
                m.next = "CHECK"
            with m.State("CHECK"):
                with m.If((end > size) & (status == Status.OK)):
                    m.d.sync += status.eq(Status.OUT_OF_RANGE)
                m.next = "READ STATUS"
                with m.If(code == Code.STORE):
                    m.next = "TAKE"

            with m.State("READ STATUS"):
                m.d.comb += self.reply.valid.eq(1)
                m.d.comb += self.reply.payload.eq(item(code, status))
                with m.If(self.reply.ready):
                    m.next = "ASK"
                    with m.If(status != 0):
                        m.next = "READ END"
            with m.State("ASK"):
                m.d.comb += memory.read.eq((left != 0) & (memory.space != Space.COUNTERS))
                m.d.sync += word.eq(self.counters[memory.address[:3]])
                m.next = "WAIT"
                with m.If(left == 0):
                    m.next = "READ END"
                with m.Elif(memory.space == Space.COUNTERS):
                    m.next = "SEND"
            with m.State("WAIT"):
                with m.If(memory.data_valid):
                    m.d.sync += word.eq(memory.data)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.reply.valid.eq(1)
                m.d.comb += self.reply.payload.eq(item(word))
                with m.If(self.reply.ready):
                    advance()
                    m.next = "ASK"
            with m.State("READ END"):
                m.d.comb += self.read.ready.eq(1)
                m.next = "IDLE"

            with m.State("TAKE"):
                with m.If(left == 0):
                    m.next = "STORE STATUS"
                with m.Else():
                    m.d.comb += self.bytes.ready.eq(1)
                    with m.If(self.bytes.valid):
                        m.d.sync += word.eq(Cat(word[8:], self.bytes.payload))
                        m.d.sync += count.eq(count + 1)
                        with m.If(count == 3):
                            m.next = "PUT"
            with m.State("PUT"):
                m.d.comb += memory.write.eq(status == 0)
                advance()
                m.next = "TAKE"
            with m.State("STORE STATUS"):
                m.d.comb += self.reply.valid.eq(1)
                m.d.comb += self.reply.payload.eq(item(code, status))
                m.d.comb += self.store.ready.eq(self.reply.ready)
                with m.If(self.reply.ready):
                    m.next = "IDLE"
        return m
