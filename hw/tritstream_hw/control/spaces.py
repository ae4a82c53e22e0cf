"""The spaces of READ and STORE: the one place that leads an address to its memory."""

import functools
import operator

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.flash import Stored
from tritstream.link.protocol import Space
from tritstream_hw.link import COUNTERS
from tritstream_hw.memory.access import AccessSignature
from tritstream_hw.ports import BEATS_BITS, DebugSignature

__all__ = ["WORD", "Spaces"]

WORD = data.StructLayout({"address": 32, "data": 32, "space": 8, "write": 1})
"""A word to be read, or to be written; `data` is that of a write."""


class Spaces(wiring.Component):
    """Reads or writes one word after the other, in the memory of its space.

    A word read comes three cycles after its request: the memories are far apart. One of the records
    takes a cycle more. A request waits for the end of a pass.

    Parameters
    ----------
    vector_elements, max_state, max_stages, lanes, slots : int
        See :class:`DebugSignature`.
    memory_registers : int
        Size of the space of registers; 0: there is none.
    flash_offset : int
        See :class:`BuildConfig`.

    Members
    -------
    request : :py:`In(stream.Signature(WORD))`
        A word of one of the spaces, within its size; only vectors, state and
        registers are written. A write is
        taken when it is done, a read with its word.
    word : :py:`Out(stream.Signature(32))`
        The word of each read.
    debug : :py:`Out(DebugSignature(...))`
        The memories of the accelerator.
    counters : :py:`In(COUNTERS)`, beats : :py:`In(BEATS_BITS)`
        Content of the space of counters.
    registers : :py:`Out(AccessSignature())`
        Those of the memory, which take their time; only if there are any.
    found : :py:`In(Stored)`
        Content of the space of the flash memory; only if `flash_offset` is not 0.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int, lanes: int = 1,
                 slots: int = 1, memory_registers: int = 0, flash_offset: int = 0):
        self._memory_registers = memory_registers
        self._flash_offset = flash_offset
        super().__init__({
            "request": In(stream.Signature(WORD)),
            "word": Out(stream.Signature(32)),
            "debug": Out(DebugSignature(
                vector_elements=vector_elements, max_state=max_state, max_stages=max_stages,
                lanes=lanes, slots=slots)),
            "counters": In(COUNTERS),
            "beats": In(BEATS_BITS),
            **({"registers": Out(AccessSignature())} if memory_registers else {}),
            **({"found": In(Stored)} if flash_offset else {}),
        })

    def elaborate(self, platform):
        m = Module()
        request, debug = self.request, self.debug
        serves, comes = Signal(), Signal()
        registers_word = Signal(32)
        # Known when it is served: from there it is far to the memories.
        asked = {space: Signal(name=f"asks_{space.name.lower()}") for space in Space}
        m.d.sync += [asks.eq(request.p.space == space) for space, asks in asked.items()]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(request.valid & debug.idle):
                    m.next = "SERVE"
                    if self._memory_registers:
                        with m.If(request.p.space == Space.REGISTERS):
                            m.next = "ASK"
            if self._memory_registers:
                self._ask_registers(m, registers_word)
            with m.State("SERVE"):
                m.d.comb += [serves.eq(1), request.ready.eq(request.p.write)]
                m.d.sync += Assert(debug.idle, "a pass has begun while a word is asked for")
                m.next = "COME"
                with m.If(asked[Space.RECORDS]):
                    m.next = "WAIT"
                with m.If(request.p.write):
                    m.next = "IDLE"
            with m.State("WAIT"):
                m.next = "COME"
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
                write.en.eq(serves & request.p.write & asked[space]),
                write.addr.eq(request.p.address),
                write.data.eq(request.p.data),
            ]
        words = {}
        for space, read in {Space.VECTORS: debug.vectors_read, Space.STATE: debug.state_read,
                            Space.RECORDS: debug.records_read,
                            Space.COUNTERS: self.counters}.items():
            m.d.comb += [
                read.en.eq(serves & ~request.p.write & asked[space]),
                read.addr.eq(request.p.address),
            ]
            words[space] = read.data
        if self._flash_offset:
            words[Space.FLASH] = self.found

        # Each where its memory is, and 0 but for one of them. Beats follow behind the frames.
        address, beats = request.p.address, request.p.address[len(self.counters.addr)]
        chosen = {space.name: asks for space, asks in asked.items()}
        sources = {space.name: word for space, word in words.items()}
        for half, name in enumerate(("LOW", "HIGH")):
            chosen[name] = chosen[Space.COUNTERS.name] & beats & (address[0] == half)
            sources[name] = self.beats[32 * half:32 * (half + 1)]
        chosen[Space.COUNTERS.name] &= ~beats
        kept = {name: Signal(32, name=f"{name.lower()}_word") for name in sources}
        kept[Space.REGISTERS.name] = registers_word
        for name, word in sources.items():
            with m.If(comes):
                m.d.sync += kept[name].eq(word)
        for name, word in kept.items():
            with m.If(~chosen[name]):
                m.d.sync += word.eq(0)
        m.d.comb += self.word.payload.eq(functools.reduce(operator.or_, kept.values()))
        return m

    def _ask_registers(self, m, word):
        """Hand the request on, and wait for the word of a read."""
        request, registers = self.request, self.registers
        m.d.comb += [
            registers.request.p.address.eq(request.p.address),
            registers.request.p.data.eq(request.p.data),
            registers.request.p.write.eq(request.p.write),
        ]
        with m.State("ASK"):
            m.d.comb += registers.request.valid.eq(1)
            with m.If(registers.request.ready):
                m.next = "AWAIT"
                with m.If(request.p.write):
                    m.d.comb += request.ready.eq(1)
                    m.next = "IDLE"
        with m.State("AWAIT"):
            m.d.comb += registers.word.ready.eq(1)
            m.d.sync += word.eq(registers.word.payload)
            with m.If(registers.word.valid):
                m.next = "OFFER"
