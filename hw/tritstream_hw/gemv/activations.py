"""Memory of the quantised vectors that the core reads."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.ram import Ram

_WORDS = 512        # of a block RAM of an FPGA that is as wide as any can be

__all__ = ["VECTORS", "ActivationMemory", "ActivationRead", "ActivationWrite"]

VECTORS = 3
"""Vectors held at a time: i, f and g of a block have gains, so quantisations, of their own."""


class ActivationWrite(wiring.Signature):
    """Port that writes a word of `V` activations per cycle.

    Parameters
    ----------
    vector_width : int
        `V`.
    column_words : int
        Words of the longest vector.
    lanes : int
        `T`.

    Members
    -------
    en : :py:`Out(1)`
    lane : :py:`Out(range(T))`
        Whose token.
    vector : :py:`Out(range(3))`
    address : :py:`Out(range(column_words))`
        Number of the word within the vector.
    data : :py:`Out(data.ArrayLayout(signed(8), V))`
    """

    def __init__(self, *, vector_width: int, column_words: int, lanes: int = 1):
        super().__init__({
            "en":      Out(1),
            "lane":    Out(range(lanes)),
            "vector":  Out(range(VECTORS)),
            "address": Out(range(column_words)),
            "data":    Out(data.ArrayLayout(signed(FORMATS.act_bits), vector_width)),
        })


class ActivationRead(wiring.Signature):
    """Port that reads a beat of `P` activations of each of `T` tokens per cycle.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    column_beats : int
        Beats of the longest vector.
    lanes : int
        `T`.

    Members
    -------
    en : :py:`Out(1)`
        `data` changes only after a cycle in which this is set.
    vector : :py:`Out(range(3))`
    beat : :py:`Out(range(column_beats))`
    data : :py:`In(data.ArrayLayout(data.ArrayLayout(signed(8), P), T))`
        One cycle later.
    """

    def __init__(self, *, beat_bytes: int, column_beats: int, lanes: int = 1):
        beat = data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)
        super().__init__({
            "en":     Out(1),
            "vector": Out(range(VECTORS)),
            "beat":   Out(range(column_beats)),
            "data":   In(data.ArrayLayout(beat, lanes)),
        })


class ActivationMemory(wiring.Component):
    """Three int8 vectors of up to :py:`column_beats` beats, of each of `T` tokens.

    One write of `V` elements of a token and one read of `P` elements of each per cycle. A beat that
    is written is there for a read that begins in the next cycle or later. The content survives a
    reset.

    Parameters
    ----------
    beat_bytes, vector_width : int
        `P` and `V`.
    column_beats : int
        Beats of the longest vector.
    lanes : int
        `T`.

    Members
    -------
    write : :py:`In(ActivationWrite(...))`
    read : :py:`In(ActivationRead(...))`
        Latency one cycle.
    """

    def __init__(self, *, beat_bytes: int, vector_width: int, column_beats: int, lanes: int = 1):
        self._vector_width = vector_width
        self._parts = beat_bytes // vector_width        # words of a beat
        self._column_beats = column_beats
        super().__init__({
            "write": In(ActivationWrite(vector_width=vector_width, lanes=lanes,
                                        column_words=column_beats * self._parts)),
            "read":  In(ActivationRead(beat_bytes=beat_bytes, column_beats=column_beats,
                                       lanes=lanes)),
        })

    def elaborate(self, platform):
        m = Module()

        # The vector is the upper part of the address, so that none of it has to be computed.
        beats = 1 << (self._column_beats - 1).bit_length()
        if VECTORS * beats <= _WORDS:
            read = self._memory(m, "memory", VECTORS * beats, self.write.en, self.read.en)
            m.d.comb += Value.cast(self.read.data).eq(read)
            return m
        # Of block RAMs as deep as these two, no more are wanted, and there is one choice among
        # them: of three as deep as a vector it would be two, one behind the other.
        last_written = self.write.vector == VECTORS - 1
        last_read = self.read.vector == VECTORS - 1
        first = self._memory(m, "first", (VECTORS - 1) * beats, self.write.en & ~last_written,
                             self.read.en & ~last_read)
        last = self._memory(m, "last", beats, self.write.en & last_written,
                            self.read.en & last_read)
        is_last = Signal()
        with m.If(self.read.en):
            m.d.sync += is_last.eq(last_read)
        m.d.comb += Value.cast(self.read.data).eq(Mux(is_last, last, first))
        return m

    def _memory(self, m, name: str, depth: int, written, read_enable) -> Value:
        """Add a memory of the lower vectors, or of one; return what it reads."""
        bits = len(Value.cast(self.write.data))
        m.submodules[name] = memory = Ram(
            shape=unsigned(len(Value.cast(self.read.data))), depth=depth)
        write, read = memory.write_port(granularity=bits), memory.read_port()
        part = self.write.address[:(self._parts - 1).bit_length()]
        m.d.comb += [
            write.addr.eq(Cat(self.write.address[len(part):], self.write.vector)),
            write.en.eq(written << Cat(part, self.write.lane)),
            write.data.eq(Value.cast(self.write.data).replicate(len(write.en))),
            read.en.eq(read_enable),
            read.addr.eq(Cat(self.read.beat, self.read.vector)),
        ]
        return read.data
