"""Memory of the residual x and the gated vector z, and who uses it when."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.elements.ports import (
    member_of,
    row_port,
    vector_read_port,
    vector_words_port,
    vector_write_port,
)

__all__ = ["VectorMemory", "VectorPorts"]


class VectorMemory(wiring.Component):
    """:py:`vector_elements` elements of 32 bits, written one by one and read `V` at a time.

    One write and one read per cycle. An element that is written is there for a read that begins in
    the next cycle or later. The content survives a reset. An address beyond the memory reads and
    writes nothing in particular.

    Parameters
    ----------
    vector_elements : int
        Size, in elements.
    vector_width : int
        `V`.

    Members
    -------
    write : :py:`Out(WritePort.Signature(...))`
        One element.
    read : :py:`Out(ReadPort.Signature(...))`
        Elements :py:`V * addr` and following; reads whether it is enabled or not.
    """

    def __init__(self, *, vector_elements: int, vector_width: int):
        self._vector_elements = vector_elements
        super().__init__({
            "write": Out(vector_write_port(vector_elements)),
            "read":  Out(vector_words_port(
                vector_elements=vector_elements, vector_width=vector_width)),
        })

    def elaborate(self, platform):
        m = Module()
        width = len(self.read.data)
        m.submodules.memory = memory = Memory(
            shape=self.read.data.shape(), depth=self._vector_elements // width, init=[])
        write, read = memory.write_port(granularity=1), memory.read_port()

        member = self.write.addr[:exact_log2(width)]
        m.d.comb += [
            write.addr.eq(self.write.addr[len(member):]),
            write.en.eq(self.write.en << member),
            read.addr.eq(self.read.addr),
            self.read.data.eq(read.data),
        ]
        m.d.comb += [element.eq(self.write.data) for element in write.data]
        return m


class VectorPorts(wiring.Component):
    """The vector memory with a port for each of its users, which take turns.

    The quantiser goes first. Nobody may read a row while it is enabled: it is through with a vector
    before the first row sum of the product with that vector is there.

    Parameters
    ----------
    vector_elements, vector_width : int
        As those of `VectorMemory`.

    Members
    -------
    words : :py:`Out(ReadPort.Signature(...))`
        The quantiser: words.
    rows : :py:`Out(ReadPort.Signature(addr_width=16, shape=signed(32)))`
        The element path: elements of x.
    write : :py:`Out(WritePort.Signature(...))`
        The element path: elements of x or z.
    debug_read : :py:`Out(ReadPort.Signature(...))`, debug_write : as `write`
        The host, while no pass runs: elements of x and z.
    """

    def __init__(self, *, vector_elements: int, vector_width: int):
        super().__init__({
            "words": Out(vector_words_port(
                vector_elements=vector_elements, vector_width=vector_width)),
            "rows":  Out(row_port(signed(FORMATS.vector_bits))),
            "write": Out(vector_write_port(vector_elements)),
            "debug_read":  Out(vector_read_port(vector_elements)),
            "debug_write": Out(vector_write_port(vector_elements)),
        })
        self._memory = VectorMemory(vector_elements=vector_elements, vector_width=vector_width)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self._memory
        member_bits = exact_log2(len(self.words.data))
        m.d.sync += Assert(~(self.words.en & self.rows.en), "x is read while the quantiser reads")
        # Wide enough for the debug port, which reads z by rows, too.
        row = Signal(max(len(self.rows.addr), len(self.write.addr)))
        element = member_of(m, memory.read.data, row, name="member")
        m.d.comb += [
            row.eq(self.rows.addr),
            memory.read.addr.eq(Mux(self.words.en, self.words.addr, row >> member_bits)),
            self.words.data.eq(memory.read.data),
            self.rows.data.eq(element),
            self.debug_read.data.eq(element),
            memory.write.en.eq(self.write.en),
            memory.write.addr.eq(self.write.addr),
            memory.write.data.eq(self.write.data),
        ]
        with m.If(self.debug_read.en):
            m.d.comb += row.eq(self.debug_read.addr)
        with m.If(self.debug_write.en):
            m.d.comb += [
                memory.write.en.eq(1),
                memory.write.addr.eq(self.debug_write.addr),
                memory.write.data.eq(self.debug_write.data),
            ]
        return m
