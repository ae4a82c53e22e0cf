"""A pass as moves of the player."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.player import Sink, move_layout, unit_bits

__all__ = ["Playlist", "pass_layout"]

def pass_layout(memory_units: int, lanes: int = 1) -> data.StructLayout:
    """Layout of a pass: where the lead of the tape, embedding rows and the rest of the tape are.

    There is a row for each lane up to `last`; and a lead and rows that are not streamed lie in the
    memory, as the rest does.
    """
    unit = unit_bits(memory_units)
    return data.StructLayout({
        "streamed": 1,
        "tape": unit,
        "lead_units": 16,
        "rows": data.ArrayLayout(unit, lanes),
        "last": range(lanes),
        "row_units": 16,
        "tape_units": 32,
    })


class Playlist(wiring.Component):
    """Names the beats of a pass: lead, rows and rest, or what comes by the link.

    Parameters
    ----------
    memory_units : int
        Size of the memory; 0 if there is none.
    lanes : int
        `T`.

    Members
    -------
    i : :py:`In(stream.Signature(pass_layout(memory_units, T)))`
        The pass; taken with its last move.
    o : :py:`Out(stream.Signature(move_layout(memory_units)))`
        Moves to the accelerator, the last of which is marked.
    """

    def __init__(self, *, memory_units: int, lanes: int = 1):
        self._unit_bits = unit_bits(memory_units)
        super().__init__({"i": In(stream.Signature(pass_layout(memory_units, lanes))),
                          "o": Out(stream.Signature(move_layout(memory_units)))})

    def elaborate(self, platform):
        m = Module()
        what, move = self.i.p, self.o.p
        # Units behind the lead, and whether there are any; what is not streamed lies in the memory.
        rest, rests = Signal(self._unit_bits + 1), Signal()
        lane, is_last = Signal.like(what.last), Signal()
        m.d.sync += rest.eq(what.tape_units - what.lead_units)
        m.d.comb += [
            rests.eq(rest != 0),
            is_last.eq(lane == what.last),
            move.streamed.eq(what.streamed),
        ]

        def assert_rest():
            """What is named lies in the memory, and has been there for a cycle."""
            m.d.sync += Assert(what.streamed | (rest + what.lead_units == what.tape_units),
                               "the rest of a tape is not yet known, or longer than the memory")

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
                m.d.sync += lane.eq(0)
                with m.If(self.i.valid):
                    m.next = "LEAD"
            with m.State("LEAD"):
                # In a stream all parts come in their order: it does not matter what they are.
                name(what.tape, Mux(what.streamed, what.tape_units, what.lead_units), "ROW")
            with m.State("ROW"):
                assert_rest()
                ends = is_last & (what.streamed | ~rests)
                name(what.rows[lane], what.row_units, "REST", ends=ends)
                with m.If(self.o.ready & ends):
                    m.next = "IDLE"
                with m.If(self.o.ready & ~is_last):
                    m.d.sync += lane.eq(lane + 1)
                    m.next = "ROW"
            with m.State("REST"):
                assert_rest()
                name(what.tape + what.lead_units, rest, "IDLE", ends=1)
        return m
