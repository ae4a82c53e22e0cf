"""Memory of the residual x and the gated vector z, and who uses it when."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.elements.ports import (
    rows_of,
    rows_port,
    vector_read_port,
    vector_rows_write_port,
    vector_words_port,
    vector_write_port,
)
from tritstream_hw.ram import Ram
from tritstream_hw.stream.delay import delay

__all__ = ["VectorMemory", "VectorPorts"]


class VectorMemory(wiring.Component):
    """:py:`vector_elements` elements of 32 bits of each token, written `E` and read `V` at a time.

    One write and one read per cycle. An element that is written is there for a read that begins in
    the next cycle or later. The content survives a reset. An address beyond the memory reads and
    writes nothing in particular.

    Parameters
    ----------
    vector_elements : int
        Size, in elements.
    vector_width, element_width : int
        `V`, and `E`, which is at most that.
    lanes : int
        `T`, tokens.

    Members
    -------
    write : :py:`Out(WritePort.Signature(...))`
        Elements :py:`E * addr` and following, those that are enabled.
    read : :py:`Out(ReadPort.Signature(...))`
        Elements :py:`V * addr` and following; reads whether it is enabled or not.
    """

    def __init__(self, *, vector_elements: int, vector_width: int, element_width: int,
                 lanes: int = 1):
        token_words = vector_elements // vector_width
        self._depth = (lanes - 1 << ceil_log2(token_words)) + token_words
        self._width = element_width
        super().__init__({
            "write": Out(vector_rows_write_port(vector_elements, element_width, lanes)),
            "read":  Out(vector_words_port(
                vector_elements=vector_elements, vector_width=vector_width, lanes=lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        words = len(self.read.data) // self._width      # of `E` elements, in one of `V`
        m.submodules.memory = memory = Ram(
            shape=self.read.data.shape(), depth=self._depth)
        write, read = memory.write_port(granularity=1), memory.read_port()

        word = self.write.addr[:exact_log2(words)]
        m.d.comb += [
            write.addr.eq(self.write.addr[len(word):]),
            write.en.eq(self.write.en << word * self._width),
            Value.cast(write.data).eq(Value.cast(self.write.data).replicate(words)),
            read.addr.eq(self.read.addr),
            self.read.data.eq(read.data),
        ]
        return m


class VectorPorts(wiring.Component):
    """The vector memory with a port for each of its users, which take turns.

    The quantiser goes first. Nobody may read a row while it is enabled: it is through with a vector
    before the first row of the product with that vector is there.

    Parameters
    ----------
    vector_elements, vector_width, element_width, lanes : int
        As those of `VectorMemory`.

    Members
    -------
    words : :py:`Out(ReadPort.Signature(...))`
        The quantiser: words.
    rows : :py:`Out(ReadPort.Signature(...))`
        The element path: `E` elements of x.
    write : :py:`Out(WritePort.Signature(...))`
        The element path: `E` elements of x or z.
    debug_read, debug_write : :py:`Out(...)`
        The host, while no pass runs: one element of x or z.
    """

    def __init__(self, *, vector_elements: int, vector_width: int, element_width: int,
                 lanes: int = 1):
        self._width = element_width
        super().__init__({
            "words": Out(vector_words_port(
                vector_elements=vector_elements, vector_width=vector_width, lanes=lanes)),
            "rows":  Out(rows_port(signed(FORMATS.vector_bits), element_width, lanes)),
            "write": Out(vector_rows_write_port(vector_elements, element_width, lanes)),
            "debug_read":  Out(vector_read_port(vector_elements, lanes)),
            "debug_write": Out(vector_write_port(vector_elements, lanes)),
        })
        self._memory = VectorMemory(vector_elements=vector_elements, vector_width=vector_width,
                                    element_width=element_width, lanes=lanes)
        self._lane_bits = ceil_log2(lanes)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self._memory
        bits = exact_log2(self._width)
        word_bits = exact_log2(len(self.words.data)) - bits
        m.d.sync += Assert(~(self.words.en & self.rows.en), "x is read while the quantiser reads")
        # The debug port reads z by rows, too. A row's number is wider than that of a lane's last.
        row, row_bits = Signal.like(self.write.addr), len(self.write.addr) - self._lane_bits
        word, lane = (self.rows.addr[:len(self.rows.addr) - self._lane_bits],
                      self.rows.addr[len(self.rows.addr) - self._lane_bits:])
        element = delay(m, self.debug_read.addr[:bits], 1, name="element")
        m.d.comb += [
            row.eq(Cat((word | C(0, row_bits))[:row_bits], lane)),
            memory.read.addr.eq(Mux(self.words.en, self.words.addr, row >> word_bits)),
            self.words.data.eq(memory.read.data),
            self.rows.data.eq(rows_of(m, memory.read.data, row, self._width, name="word")),
            self.debug_read.data.eq(self.rows.data[element]),
            memory.write.en.eq(self.write.en),
            memory.write.addr.eq(self.write.addr),
            memory.write.data.eq(self.write.data),
        ]
        with m.If(self.debug_read.en):
            m.d.comb += row.eq(self.debug_read.addr >> bits)
        with m.If(self.debug_write.en):
            m.d.comb += [
                memory.write.en.eq(1 << self.debug_write.addr[:bits]),
                memory.write.addr.eq(self.debug_write.addr >> bits),
                *(element.eq(self.debug_write.data) for element in memory.write.data),
            ]
        return m
