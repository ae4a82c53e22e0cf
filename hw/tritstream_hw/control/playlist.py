"""A pass as moves of the player."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.player import MOVE, Sink

__all__ = ["PASS", "Playlist"]

PASS = data.StructLayout({
    "streamed": 1,
    "tape": 32,
    "lead_units": 16,
    "row": 32,
    "row_units": 16,
    "tape_units": 32,
})
"""A pass in units: the lead of the tape, an embedding row, the rest of the tape. There is a row."""


class Playlist(wiring.Component):
    """Names the beats of a pass: lead, row and rest, or what comes by the link.

    Members
    -------
    i : :py:`In(stream.Signature(PASS))`
        The pass; taken with its last move.
    o : :py:`Out(stream.Signature(MOVE))`
        Moves to the accelerator, the last of which is marked.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(PASS)), "o": Out(stream.Signature(MOVE))})

    def elaborate(self, platform):
        m = Module()
        what, move = self.i.p, self.o.p
        rest, rests = Signal(32), Signal()          # units behind the lead, and whether any
        m.d.sync += rest.eq(what.tape_units - what.lead_units)
        m.d.comb += [
            rests.eq(rest != 0),
            move.streamed.eq(what.streamed),
        ]

        def name(unit, units, then, *, ends=0):
            m.d.comb += [
                self.o.valid.eq(1),
                move.sink.eq(Sink.ACCELERATOR),
                move.unit.eq(unit),
                move.units.eq(units),
                move.last.eq(ends),
                self.i.ready.eq(self.o.ready & ends),
            ]
            with m.If(self.o.ready):
                m.next = then

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.i.valid):
                    m.next = "LEAD"
            with m.State("LEAD"):
                # In a stream all parts come in their order: it does not matter what they are.
                name(what.tape, Mux(what.streamed, what.tape_units, what.lead_units), "ROW")
            with m.State("ROW"):
                ends = what.streamed | ~rests
                name(what.row, what.row_units, "REST", ends=ends)
                with m.If(self.o.ready & ends):
                    m.next = "IDLE"
            with m.State("REST"):
                name(what.tape + what.lead_units, rest, "IDLE", ends=1)
        return m
