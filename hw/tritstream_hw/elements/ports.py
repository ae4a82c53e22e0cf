"""Ports of the memories that elements come from and go to.

What a memory has of several tokens, or in several slots, begins at powers of two: their number is
the upper part of an address.

All are the ports of Amaranth's memories, read with a latency of one cycle if nothing else is said.
A user has them as ``In``, a memory as ``Out``. `en` of a read port says that its user needs the
word, so that a memory knows whom to serve.
"""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.utils import ceil_log2, exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.stream.delay import delay

__all__ = [
    "gain_words_port",
    "rows_of",
    "rows_port",
    "state_read_port",
    "state_rows_read_port",
    "state_rows_write_port",
    "state_write_port",
    "vector_read_port",
    "vector_rows_write_port",
    "vector_words_port",
    "vector_write_port",
]

_VECTOR = signed(FORMATS.vector_bits)
_STATE = signed(FORMATS.state_bits)
_ROW_BITS = 16


def rows_port(shape, element_width: int, lanes: int = 1) -> ReadPort.Signature:
    """What belongs to a word of `E` rows of the stage's vector, of one of `T` tokens."""
    return ReadPort.Signature(addr_width=_ROW_BITS + ceil_log2(lanes),
                              shape=data.ArrayLayout(shape, element_width))


def vector_words_port(*, vector_elements: int, vector_width: int,
                      lanes: int = 1) -> ReadPort.Signature:
    """A word of `V` elements of the vector memory."""
    return ReadPort.Signature(
        addr_width=ceil_log2(lanes) + ceil_log2(vector_elements // vector_width),
        shape=data.ArrayLayout(_VECTOR, vector_width))


def vector_read_port(vector_elements: int, lanes: int = 1) -> ReadPort.Signature:
    """One element of the vector memory."""
    return ReadPort.Signature(addr_width=ceil_log2(lanes) + ceil_log2(vector_elements),
                              shape=_VECTOR)


def vector_write_port(vector_elements: int, lanes: int = 1) -> WritePort.Signature:
    """One element of the vector memory."""
    return WritePort.Signature(addr_width=ceil_log2(lanes) + ceil_log2(vector_elements),
                               shape=_VECTOR)


def vector_rows_write_port(vector_elements: int, element_width: int,
                           lanes: int = 1) -> WritePort.Signature:
    """A word of `E` elements of the vector memory, each with an enable of its own."""
    return WritePort.Signature(
        addr_width=ceil_log2(lanes) + ceil_log2(vector_elements // element_width),
        shape=data.ArrayLayout(_VECTOR, element_width), granularity=1)


def gain_words_port(*, column_words: int, vector_width: int) -> ReadPort.Signature:
    """A word of `V` gains; the upper part of the address is the bank, `gain0` to `gain2`."""
    return ReadPort.Signature(addr_width=ceil_log2(column_words) + 2,
                              shape=data.ArrayLayout(signed(FORMATS.gain_bits), vector_width))


def state_read_port(max_state: int, slots: int = 1) -> ReadPort.Signature:
    """An element of a recurrent state."""
    return ReadPort.Signature(addr_width=ceil_log2(slots) + ceil_log2(max_state), shape=_STATE)


def state_write_port(max_state: int, slots: int = 1) -> WritePort.Signature:
    """An element of a recurrent state."""
    return WritePort.Signature(addr_width=ceil_log2(slots) + ceil_log2(max_state), shape=_STATE)


def state_rows_read_port(max_state: int, element_width: int, slots: int = 1) -> ReadPort.Signature:
    """`E` neighbouring elements of a recurrent state, from any element on."""
    return ReadPort.Signature(addr_width=ceil_log2(slots) + ceil_log2(max_state),
                              shape=data.ArrayLayout(_STATE, element_width))


def state_rows_write_port(max_state: int, element_width: int,
                          slots: int = 1) -> WritePort.Signature:
    """`E` neighbouring elements of a recurrent state, each with an enable of its own."""
    return WritePort.Signature(addr_width=ceil_log2(slots) + ceil_log2(max_state),
                               shape=data.ArrayLayout(_STATE, element_width), granularity=1)


def rows_of(m: Module, word, address: Value, element_width: int, *, name: str,
            cycles: int = 1) -> Value:
    """Those `E` members of a word that belong to the rows that it was addressed by.

    The word is there so many cycles after the address, which counts in `E` rows.
    """
    bits = exact_log2(len(word) // element_width)
    chosen = delay(m, address[:bits], cycles, name=name)
    return Value.cast(word).word_select(chosen, len(Value.cast(word)) >> bits)
