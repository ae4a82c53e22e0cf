"""Ports of the memories that elements come from and go to.

All are the ports of Amaranth's memories, read with a latency of one cycle. A user has them as
``In``, a memory as ``Out``. `en` of a read port says that its user needs the word, so that a
memory knows whom to serve.
"""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.utils import ceil_log2

from tritstream.formats import FORMATS

__all__ = [
    "gain_words_port",
    "member_of",
    "row_port",
    "state_read_port",
    "state_write_port",
    "vector_read_port",
    "vector_words_port",
    "vector_write_port",
]

_VECTOR = signed(FORMATS.vector_bits)
_STATE = signed(FORMATS.state_bits)
_ROW_BITS = 16


def row_port(shape) -> ReadPort.Signature:
    """What belongs to a row of the stage's vector."""
    return ReadPort.Signature(addr_width=_ROW_BITS, shape=shape)


def vector_words_port(*, vector_elements: int, vector_width: int) -> ReadPort.Signature:
    """A word of `V` elements of the vector memory."""
    return ReadPort.Signature(addr_width=ceil_log2(vector_elements // vector_width),
                              shape=data.ArrayLayout(_VECTOR, vector_width))


def vector_read_port(vector_elements: int) -> ReadPort.Signature:
    """One element of the vector memory."""
    return ReadPort.Signature(addr_width=ceil_log2(vector_elements), shape=_VECTOR)


def vector_write_port(vector_elements: int) -> WritePort.Signature:
    """One element of the vector memory."""
    return WritePort.Signature(addr_width=ceil_log2(vector_elements), shape=_VECTOR)


def gain_words_port(*, column_words: int, vector_width: int) -> ReadPort.Signature:
    """A word of `V` gains; the upper part of the address is the bank, `gain0` to `gain2`."""
    return ReadPort.Signature(addr_width=ceil_log2(column_words) + 2,
                              shape=data.ArrayLayout(signed(FORMATS.gain_bits), vector_width))


def state_read_port(max_state: int) -> ReadPort.Signature:
    """An element of the recurrent state."""
    return ReadPort.Signature(addr_width=ceil_log2(max_state), shape=_STATE)


def state_write_port(max_state: int) -> WritePort.Signature:
    """An element of the recurrent state."""
    return WritePort.Signature(addr_width=ceil_log2(max_state), shape=_STATE)


def member_of(m: Module, word, row: Value, *, name: str) -> Value:
    """Member of a word that belongs to the row that it was addressed by in the cycle before."""
    bits = ceil_log2(len(word))
    if not bits:
        return word[0]
    member = Signal(bits, name=name)
    m.d.sync += member.eq(row)
    return word[member]
