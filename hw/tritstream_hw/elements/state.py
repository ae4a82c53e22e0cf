"""Memory of the recurrent state, and who uses it when."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream_hw.elements.ports import (
    state_read_port,
    state_rows_read_port,
    state_rows_write_port,
    state_write_port,
)
from tritstream_hw.ram import Ram
from tritstream_hw.stream.delay import delay

__all__ = ["StatePorts"]


class StatePorts(wiring.Component):
    """Memory of recurrent states, one in each slot. The content survives a reset.

    A layer's state begins wherever the one before it ends, so the `E` elements of a word of rows
    need not be a word here. Element n lies in bank :py:`n % E`, and a word has one in each.

    Parameters
    ----------
    max_state : int
        Elements of the recurrent state.
    element_width : int
        `E`.
    slots : int
        States.

    Members
    -------
    read : :py:`Out(ReadPort.Signature(...))`, write : :py:`Out(WritePort.Signature(...))`
        The mixer: elements `addr` and following.
    debug_read, debug_write
        The host, while no pass runs: one element. Goes first.
    """

    def __init__(self, *, max_state: int, element_width: int, slots: int = 1):
        self._width = element_width
        self._depth = -(-((slots - 1 << ceil_log2(max_state)) + max_state) // element_width)
        super().__init__({
            "read":  Out(state_rows_read_port(max_state, element_width, slots)),
            "write": Out(state_rows_write_port(max_state, element_width, slots)),
            "debug_read":  Out(state_read_port(max_state, slots)),
            "debug_write": Out(state_write_port(max_state, slots)),
        })

    def elaborate(self, platform):
        m = Module()
        read, write = Signal.like(self.read.addr), Signal.like(self.write.addr)
        enable, written = Signal.like(self.write.en), Signal.like(self.write.data)
        m.d.comb += [read.eq(self.read.addr), write.eq(self.write.addr),
                     enable.eq(self.write.en), written.eq(self.write.data)]
        with m.If(self.debug_read.en):
            m.d.comb += read.eq(self.debug_read.addr)
        with m.If(self.debug_write.en):
            m.d.comb += [write.eq(self.debug_write.addr), enable.eq(1),
                         written[0].eq(self.debug_write.data)]

        banks = [self._bank(m, n, read, write, enable, written) for n in range(self._width)]
        first = delay(m, read[:exact_log2(self._width)], 1, name="first")
        m.d.comb += [
            *(element.eq(Array(banks)[(first + n)[:len(first)]])
              for n, element in enumerate(self.read.data)),
            self.debug_read.data.eq(self.read.data[0]),
        ]
        return m

    def _bank(self, m, number: int, read, write, enable, written) -> Value:
        """Add a bank; return the element that it has of those that are read."""
        bits = exact_log2(self._width)
        m.submodules[f"bank{number}"] = memory = Ram(
            shape=self.debug_read.data.shape(), depth=self._depth)
        reader, writer = memory.read_port(), memory.write_port()
        before = self._width - 1 - number       # where its elements lie before the next word's
        mine = (number - write)[:bits]
        m.d.comb += [
            reader.addr.eq((read + before) >> bits),
            writer.addr.eq((write + before) >> bits),
            writer.en.eq(enable.bit_select(mine, 1)),
            writer.data.eq(written[mine]),
        ]
        return reader.data
