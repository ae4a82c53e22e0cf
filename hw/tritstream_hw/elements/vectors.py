"""Memory of the residual x and the gated vector z."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS

__all__ = ["VectorMemory"]


class VectorMemory(wiring.Component):
    """:py:`config.vector_words` elements of 32 bits, written one by one and read `V` at a time.

    One write and one read per cycle. An element that is written is there for a read that begins in
    the next cycle or later. The content survives a reset. An address beyond the memory reads and
    writes nothing in particular.

    Members
    -------
    write_en : :py:`In(1)`
    write_address : :py:`In(range(vector_words))`
        Number of an element.
    write_data : :py:`In(signed(32))`
    read_address : :py:`In(range(vector_words / V))`
        Number of a word.
    read_data : :py:`Out(data.ArrayLayout(signed(32), V))`
        Elements :py:`V * read_address` and following, one cycle later.
    """

    def __init__(self, config: BuildConfig):
        self.config = config
        element = signed(FORMATS.vector_bits)
        super().__init__({
            "write_en":      In(1),
            "write_address": In(range(config.vector_words)),
            "write_data":    In(element),
            "read_address":  In(range(config.vector_words // config.elements)),
            "read_data":     Out(data.ArrayLayout(element, config.elements)),
        })

    def elaborate(self, platform):
        m = Module()
        elements = self.config.elements
        m.submodules.memory = memory = Memory(
            shape=self.read_data.shape(), depth=self.config.vector_words // elements, init=[])
        write, read = memory.write_port(granularity=1), memory.read_port()

        member = self.write_address[:exact_log2(elements)]
        m.d.comb += [
            write.addr.eq(self.write_address[len(member):]),
            write.en.eq(self.write_en << member),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        m.d.comb += [element.eq(self.write_data) for element in write.data]
        return m
