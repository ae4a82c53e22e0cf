"""Queue whose payloads count only once the packet that they belong to is known to be whole."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.ram import Ram
from tritstream_hw.stream.reader import Reader

__all__ = ["PacketQueue"]


class PacketQueue(wiring.Component):
    """Queue in a block RAM that is written ahead, and takes back what was not committed.

    Throughput is one payload per cycle on both sides. A payload can be taken two cycles after its
    commit.

    Parameters
    ----------
    shape : ShapeLike
        Of a payload.
    depth : int
        Places, a power of two.

    Members
    -------
    i : :py:`In(stream.Signature(shape, always_ready=True))`
        Payloads of the packet under way. Whoever writes looks at `room` before.
    begin : :py:`In(1)`
        Strobe: a packet begins; what was written and not committed is taken back. Not with `i`.
    commit : :py:`In(1)`
        Strobe: all that was written so far counts. Not with `i`.
    room : :py:`Out(range(depth + 1))`
        Places that are free behind what is committed, as it was a cycle ago: not to be relied on in
        the cycle behind a commit.
    clear : :py:`In(1)`
        Strobe: the queue is empty.
    o : :py:`Out(stream.Signature(shape))`
        Payloads that count, in order.
    """

    def __init__(self, shape, depth: int):
        self._shape = shape
        self._depth = depth
        super().__init__({
            "i":      In(stream.Signature(shape, always_ready=True)),
            "begin":  In(1),
            "commit": In(1),
            "room":   Out(range(depth + 1), init=depth),
            "clear":  In(1),
            "o":      Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self._depth
        m.submodules.memory = memory = Ram(shape=self._shape, depth=depth)
        write, read = memory.write_port(), memory.read_port()

        # Positions have one bit more than an address: full and empty are told apart.
        head, end, tail = (Signal(range(2 * depth), name=name) for name in ("head", "end", "tail"))
        m.d.comb += [
            write.addr.eq(end),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid),
        ]
        m.d.sync += self.room.eq(depth - (head - tail)[:len(head)])
        with m.If(self.begin):
            m.d.sync += end.eq(head)
        with m.If(self.i.valid):
            m.d.sync += end.eq(end + 1)
        with m.If(self.commit):
            m.d.sync += head.eq(end)

        m.d.sync += Assert(~(self.i.valid & (self.begin | self.commit)),
                           "a payload comes in the cycle in which its packet begins or counts")

        reader = Reader(len(read.addr), self._shape)
        m.submodules.reader = ResetInserter(self.clear)(reader)
        wiring.connect(m, reader.memory, read)
        wiring.connect(m, reader.o, wiring.flipped(self.o))
        m.d.comb += [reader.i.valid.eq(tail != head), reader.i.payload.eq(tail)]
        with m.If(reader.i.valid & reader.i.ready):
            m.d.sync += tail.eq(tail + 1)

        with m.If(self.clear):
            m.d.sync += [head.eq(0), end.eq(0), tail.eq(0), self.room.eq(depth)]
        return m
