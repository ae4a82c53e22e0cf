"""Fills the memory from a flash memory when a board starts."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.flash import MAGIC, Stored
from tritstream.link.protocol import Code
from tritstream_hw.stream.transfer import taken

__all__ = ["FlashStarter"]

COMMAND_BYTES = 9           # of WRITE and DIGEST: the code, the first unit and how many
UNITS_AT = 5                # where the latter begins
REPLY_BYTES = 2             # in front of the digest, if there is one
WORD_BYTES = 4


class FlashStarter(wiring.Component):
    """Speaks to the control as a host would, before the host: WRITE, then DIGEST.

    So the model takes the way of an upload, and what is compared with the flash memory's CRC is
    what the memory holds. When it is `done`, the host has the control for itself; until then the
    host's commands wait. A reset begins it all again.

    Parameters
    ----------
    unit_bytes, memory_units : int
        Of a unit; of the memory.

    Members
    -------
    bytes : :py:`In(stream.Signature(8))`
        What the flash memory holds, see `tritstream.flash`.
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Commands of the host, and replies to it.
    commands, replies : :py:`Out(stream.Signature(8))`, :py:`In(stream.Signature(8))`
        To the control, and from it.
    done : :py:`Out(1)`
        The flash memory is no longer needed.
    found : :py:`Out(Stored)`
        What it held, once that is known.
    """

    def __init__(self, *, unit_bytes: int, memory_units: int):
        self._unit_bytes = unit_bytes
        self._memory_units = memory_units
        super().__init__({
            "bytes": In(stream.Signature(8)),
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "commands": Out(stream.Signature(8)),
            "replies": In(stream.Signature(8)),
            "done": Out(1),
            "found": Out(Stored),
        })

    def elaborate(self, platform):
        m = Module()
        flash, commands, replies = self.bytes, self.commands, self.replies
        word = Signal(8 * WORD_BYTES)           # the latest of the header: in the end, the units
        count = Signal(range(COMMAND_BYTES))    # bytes of what is under way
        left = Signal(range(self._memory_units * self._unit_bytes + 1))     # of the payload
        digests, differs = Signal(), Signal()
        code = Mux(digests, C(Code.DIGEST, 8), C(Code.WRITE, 8))

        def step(stream, last: int, then: str):
            """Count the bytes that pass; with the one of this number comes another state."""
            with m.If(taken(stream)):
                m.d.sync += count.eq(count + 1)
                with m.If(count == last):
                    m.d.sync += count.eq(0)
                    m.next = then

        def end(found: Stored):
            m.d.sync += self.found.eq(found)
            m.next = "DONE"

        with m.FSM():
            for state, then in (("MAGIC", "JUDGE_MAGIC"), ("UNITS", "JUDGE_UNITS")):
                with m.State(state):
                    m.d.comb += flash.ready.eq(1)
                    with m.If(flash.valid):
                        m.d.sync += word.eq(Cat(word[8:], flash.payload))
                    step(flash, WORD_BYTES - 1, then)
            with m.State("JUDGE_MAGIC"):
                m.next = "UNITS"
                with m.If(word != int.from_bytes(MAGIC, "little")):
                    end(Stored.NOTHING)
            with m.State("JUDGE_UNITS"):
                m.d.sync += left.eq(word * self._unit_bytes)
                m.next = "COMMAND"
                with m.If(word == 0):
                    end(Stored.NOTHING)
                with m.Elif(word > self._memory_units):
                    end(Stored.TOO_LARGE)

            with m.State("COMMAND"):
                m.d.comb += [commands.valid.eq(1), commands.payload.eq(
                    Mux(count == 0, code, Mux(count < UNITS_AT, 0, word[:8])))]
                with m.If(commands.ready & (count >= UNITS_AT)):
                    m.d.sync += word.eq(word.rotate_right(8))
                step(commands, COMMAND_BYTES - 1, "PAYLOAD")
                with m.If(commands.ready & (count == COMMAND_BYTES - 1) & digests):
                    m.next = "REPLY"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    commands.valid.eq(flash.valid),
                    commands.payload.eq(flash.payload),
                    flash.ready.eq(commands.ready),
                ]
                with m.If(taken(flash)):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += replies.ready.eq(1)
                step(replies, REPLY_BYTES - 1, "COMMAND")
                with m.If(replies.valid & (count == REPLY_BYTES - 1)):
                    m.d.sync += digests.eq(1)
                    with m.If(digests):
                        m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += [flash.ready.eq(replies.valid), replies.ready.eq(flash.valid)]
                with m.If(taken(flash) & (flash.payload != replies.payload)):
                    m.d.sync += differs.eq(1)
                step(flash, WORD_BYTES - 1, "JUDGE_CRC")
            with m.State("JUDGE_CRC"):
                end(Stored.LOADED)
                with m.If(differs):
                    end(Stored.DAMAGED)

            with m.State("DONE"):
                m.d.comb += [
                    self.done.eq(1),
                    commands.payload.eq(self.i.payload),
                    commands.valid.eq(self.i.valid),
                    self.i.ready.eq(commands.ready),
                    self.o.valid.eq(replies.valid),
                    replies.ready.eq(self.o.ready),
                ]
        m.d.comb += self.o.payload.eq(replies.payload)
        return m
