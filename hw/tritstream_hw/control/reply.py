"""Replies, byte by byte."""

import functools
import operator

from amaranth import *

__all__ = ["Reply"]


class Reply:
    """What a component has to say on a stream of bytes: messages, one byte per cycle.

    Its bytes are gated and added up, with a flip-flop for each place in a message: that takes two
    thirds of the lookup tables of choosing them by a number.

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
        self._at = Signal(longest, init=1, name="reply_at")     # which byte of its message is next
        self._ends = Signal(name="reply_ends")
        with m.If(stream.valid & stream.ready):
            m.d.sync += self._at.eq(Mux(self._ends, 1, self._at << 1))

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
        ends = self._at[len(octets) - 1]
        gated = (octet & at.replicate(8) for octet, at in zip(octets, self._at, strict=False))
        self._m.d.comb += [
            self._stream.valid.eq(1),
            self._stream.payload.eq(functools.reduce(operator.or_, gated)),
            self._ends.eq(ends),
        ]
        return self._stream.ready & ends
