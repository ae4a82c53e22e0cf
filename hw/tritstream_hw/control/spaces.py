"""The spaces of READ and STORE: the one place that leads an address to its memory."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.messages import Counters
from tritstream.link.protocol import Space
from tritstream_hw.ports import DebugSignature

__all__ = ["COUNTER_WORDS", "WORD", "Spaces"]

COUNTER_WORDS = Counters.SIZE // 4
"""Words of the space of counters."""

WORD = data.StructLayout({"address": 32, "data": 32, "space": 8, "write": 1})
"""A word to be read, or to be written; `data` is that of a write."""


class Spaces(wiring.Component):
    """Reads or writes one word after the other, in the memory of its space.

    A word read comes three cycles after its request: the memories are far apart. A request waits
    for the end of a pass.

    Parameters
    ----------
    vector_elements, max_state, max_stages, lanes, slots : int
        See :class:`DebugSignature`.

    Members
    -------
    request : :py:`In(stream.Signature(WORD))`
        A word of one of the spaces, within its size; only vectors and state are written. A write is
        taken when it is done, a read with its word.
    word : :py:`Out(stream.Signature(32))`
        The word of each read.
    debug : :py:`Out(DebugSignature(...))`
        The memories of the accelerator.
    counters : :py:`In(data.ArrayLayout(32, COUNTER_WORDS))`
        Content of the space of counters.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int, lanes: int = 1,
                 slots: int = 1):
        super().__init__({
            "request": In(stream.Signature(WORD)),
            "word": Out(stream.Signature(32)),
            "debug": Out(DebugSignature(
                vector_elements=vector_elements, max_state=max_state, max_stages=max_stages,
                lanes=lanes, slots=slots)),
            "counters": In(data.ArrayLayout(32, COUNTER_WORDS)),
        })

    def elaborate(self, platform):
        m = Module()
        request, debug = self.request, self.debug
        serves, comes = Signal(), Signal()
        with m.FSM():
            with m.State("IDLE"):
                with m.If(request.valid & debug.idle):
                    m.next = "SERVE"
            with m.State("SERVE"):
                m.d.comb += [serves.eq(1), request.ready.eq(request.p.write)]
                m.d.sync += Assert(debug.idle, "a pass has begun while a word is asked for")
                m.next = "COME"
                with m.If(request.p.write):
                    m.next = "IDLE"
            with m.State("COME"):
                m.d.comb += comes.eq(1)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.word.valid.eq(1), request.ready.eq(self.word.ready)]
                with m.If(self.word.ready):
                    m.next = "IDLE"

        for space, write in {Space.VECTORS: debug.vectors_write,
                             Space.STATE: debug.state_write}.items():
            m.d.comb += [
                write.en.eq(serves & request.p.write & (request.p.space == space)),
                write.addr.eq(request.p.address),
                write.data.eq(request.p.data),
            ]
        words = {Space.COUNTERS: self.counters[request.p.address[:3]]}
        for space, read in {Space.VECTORS: debug.vectors_read, Space.STATE: debug.state_read,
                            Space.RECORDS: debug.records_read}.items():
            m.d.comb += [
                read.en.eq(serves & ~request.p.write & (request.p.space == space)),
                read.addr.eq(request.p.address),
            ]
            words[space] = read.data

        # Each where its memory is, and 0 but for one of them.
        kept = {space: Signal(32, name=f"{space.name.lower()}_word") for space in words}
        for space, word in words.items():
            with m.If(comes):
                m.d.sync += kept[space].eq(word)
            with m.If(request.p.space != space):
                m.d.sync += kept[space].eq(0)
        m.d.comb += self.word.payload.eq(
            kept[Space.VECTORS] | kept[Space.STATE] | kept[Space.RECORDS] | kept[Space.COUNTERS])
        return m
