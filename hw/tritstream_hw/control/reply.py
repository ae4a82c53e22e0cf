"""Replies, byte by byte."""

from amaranth import *

__all__ = ["Reply"]


class Reply:
    """What a component has to say on a stream of bytes: messages, one byte per cycle.

    Parameters
    ----------
    m : Module
        Gets the logic.
    stream
        Where to; the interface of the component, seen from inside.
    longest : int
        Bytes of the longest message.
    """

    def __init__(self, m: Module, stream, *, longest: int):
        self._m, self._stream = m, stream
        self._index = Signal(range(longest), name="reply_index")    # of the byte in its message
        self._ends = Signal(name="reply_ends")
        with m.If(stream.valid & stream.ready):
            m.d.sync += self._index.eq(Mux(self._ends, 0, self._index + 1))

    def send(self, *values) -> Value:
        """Offer a message, for as long as the state stands that this is called in.

        Parameters
        ----------
        *values : ValueLike
            The message, the first byte in the lowest bits; whole bytes all together.

        Returns
        -------
        Value
            The last byte is taken.
        """
        bits = Cat(*values)
        octets = [bits.word_select(n, 8) for n in range(len(bits) // 8)]
        ends = self._index == len(octets) - 1
        self._m.d.comb += [
            self._stream.valid.eq(1),
            self._stream.payload.eq(Array(octets)[self._index]),
            self._ends.eq(ends),
        ]
        return self._stream.ready & ends
