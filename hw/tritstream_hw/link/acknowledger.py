"""Decides when the other side has to be told what has arrived."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import DEVICE_ROOM

__all__ = ["Acknowledger"]


class Acknowledger(wiring.Component):
    """Asks for `ACK` and `NAK` frames, as rarely as the contract allows.

    Parameters
    ----------
    ack_cycles, retry_cycles : int
        Timers, see `docs/link.md`.

    Members
    -------
    expected, credit : :py:`In(8)`
        What to tell: see :class:`Receiver`.
    accepted, repeated, missed : :py:`In(1)`
        Strobes: a frame was accepted; was dropped but has to be acknowledged; has been lost.
    told : :py:`In(1)`
        Strobe: some frame has just taken `expected` and `credit` with it.
    denied : :py:`In(1)`
        Strobe: that frame was a `NAK`.
    clear : :py:`In(1)`
        Start anew.
    ack, nak : :py:`Out(1)`
        A frame of this kind is wanted.
    """

    def __init__(self, *, ack_cycles: int, retry_cycles: int):
        self._ack_cycles, self._retry_cycles = ack_cycles, retry_cycles
        super().__init__({
            "expected": In(8),
            "credit": In(8),
            "accepted": In(1),
            "repeated": In(1),
            "missed": In(1),
            "told": In(1),
            "denied": In(1),
            "clear": In(1),
            "ack": Out(1),
            "nak": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # The end of the window never moves back: a frame takes at most its share of the room.
        limit, told_limit = Signal(8), Signal(8, init=DEVICE_ROOM)
        m.d.comb += limit.eq(self.expected + self.credit)
        moved = (limit - told_limit)[:8] >= DEVICE_ROOM // 2

        owed = Signal()
        delay = Signal(range(self._ack_cycles + 1))
        with m.If(owed & (delay != self._ack_cycles)):
            m.d.sync += delay.eq(delay + 1)
        m.d.sync += self.ack.eq(~self.told & (moved | (delay == self._ack_cycles)))

        silenced = Signal()                  # a NAK is out, and nothing has been accepted since
        patience = Signal(range(self._retry_cycles + 1))
        with m.If(silenced):
            m.d.sync += patience.eq(patience + 1)
            with m.If(patience == self._retry_cycles):
                m.d.sync += silenced.eq(0)

        with m.If(self.told):
            m.d.sync += [told_limit.eq(limit), owed.eq(0), delay.eq(0)]
        with m.If(self.denied):
            m.d.sync += [self.nak.eq(0), silenced.eq(1), patience.eq(0)]
        with m.If(self.accepted | self.repeated):
            m.d.sync += owed.eq(1)
        with m.If(self.accepted):
            m.d.sync += [self.nak.eq(0), silenced.eq(0)]
        with m.If(self.missed & ~silenced):
            m.d.sync += self.nak.eq(1)
        with m.If(self.clear):
            m.d.sync += [told_limit.eq(DEVICE_ROOM), owed.eq(0), delay.eq(0), self.ack.eq(0),
                         self.nak.eq(0), silenced.eq(0)]
        return m
