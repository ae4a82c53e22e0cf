"""Memory of the quantised vectors that the core reads."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS

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

    Members
    -------
    en : :py:`Out(1)`
    vector : :py:`Out(range(3))`
    address : :py:`Out(range(column_words))`
        Number of the word within the vector.
    data : :py:`Out(data.ArrayLayout(signed(8), V))`
    """

    def __init__(self, *, vector_width: int, column_words: int):
        super().__init__({
            "en":      Out(1),
            "vector":  Out(range(VECTORS)),
            "address": Out(range(column_words)),
            "data":    Out(data.ArrayLayout(signed(FORMATS.act_bits), vector_width)),
        })


class ActivationRead(wiring.Signature):
    """Port that reads a beat of `P` activations per cycle.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    column_beats : int
        Beats of the longest vector.

    Members
    -------
    en : :py:`Out(1)`
        `data` changes only after a cycle in which this is set.
    vector : :py:`Out(range(3))`
    beat : :py:`Out(range(column_beats))`
    data : :py:`In(data.ArrayLayout(signed(8), P))`
        One cycle later.
    """

    def __init__(self, *, beat_bytes: int, column_beats: int):
        super().__init__({
            "en":     Out(1),
            "vector": Out(range(VECTORS)),
            "beat":   Out(range(column_beats)),
            "data":   In(data.ArrayLayout(signed(FORMATS.act_bits), beat_bytes)),
        })


class ActivationMemory(wiring.Component):
    """Three int8 vectors of up to :py:`column_beats` beats.

    One write of `V` elements and one read of `P` elements per cycle. A beat that is written is
    there for a read that begins in the next cycle or later. The content survives a reset.

    Parameters
    ----------
    beat_bytes, vector_width : int
        `P` and `V`.
    column_beats : int
        Beats of the longest vector.

    Members
    -------
    write : :py:`In(ActivationWrite(...))`
    read : :py:`In(ActivationRead(...))`
        Latency one cycle.
    """

    def __init__(self, *, beat_bytes: int, vector_width: int, column_beats: int):
        self._vector_width = vector_width
        self._parts = beat_bytes // vector_width        # words of a beat
        self._column_beats = column_beats
        super().__init__({
            "write": In(ActivationWrite(vector_width=vector_width,
                                        column_words=column_beats * self._parts)),
            "read":  In(ActivationRead(beat_bytes=beat_bytes, column_beats=column_beats)),
        })

    def elaborate(self, platform):
        m = Module()

        # The vector is the upper part of the address, so that none of it has to be computed.
        beats = 1 << (self._column_beats - 1).bit_length()
        m.submodules.memory = memory = Memory(shape=self.read.data.shape(), depth=VECTORS * beats,
                                              init=[])
        write = memory.write_port(granularity=self._vector_width)
        read = memory.read_port()

        part = self.write.address[:(self._parts - 1).bit_length()]
        m.d.comb += [
            write.addr.eq(Cat(self.write.address[len(part):], self.write.vector)),
            write.en.eq(self.write.en << part),
            read.en.eq(self.read.en),
            read.addr.eq(Cat(self.read.beat, self.read.vector)),
            self.read.data.eq(read.data),
        ]
        for n, element in enumerate(write.data):
            m.d.comb += element.eq(self.write.data[n % self._vector_width])
        return m
