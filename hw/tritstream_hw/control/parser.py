"""Splits the command stream into commands and their data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.control.messages import ARGUMENT_BYTES, ARGUMENTS, known_codes

__all__ = ["Parser"]


class Parser(wiring.Component):
    """Reads an operation code and its arguments, then hands the stream to whoever carries it out.

    Parameters
    ----------
    memory_units : int
        Size of the memory; 0 if there is none, nor are its commands.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        The command stream, one byte per cycle.
    o : :py:`Out(stream.Signature(8))`
        What comes while a command is carried out, which takes its data and no more.
    identify, write, ... : :py:`Out(stream.Signature(ARGUMENTS[code]))`
        One stream per command. The offer stands while the command is carried out.
    unknown : :py:`Out(1)`
        The operation code is not known. From then on the stream is thrown away.
    """

    def __init__(self, *, memory_units: int):
        self._codes = known_codes(memory_units)
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "unknown": Out(1),
            **{code.name.lower(): Out(stream.Signature(ARGUMENTS[code]))
               for code in self._codes},
        })

    def elaborate(self, platform):
        m = Module()
        longest = max(ARGUMENT_BYTES[code] for code in self._codes)
        code, left = Signal(8), Signal(range(longest + 1))
        arguments = Signal(8 * longest)
        finished = Signal()
        # Registered, because whoever carries out a command decides much by it.
        offered = {known: Signal(name=f"offered_{known.name.lower()}") for known in self._codes}
        for known, offer in offered.items():
            command, layout = getattr(self, known.name.lower()), ARGUMENTS[known]
            m.d.comb += [
                command.valid.eq(offer),
                # The last bytes that have been shifted in.
                command.payload.eq(data.View(layout, arguments[len(arguments) - layout.size:])),
            ]
            with m.If(offer & command.ready):
                m.d.sync += offer.eq(0)
                m.d.comb += finished.eq(1)
        m.d.comb += self.o.payload.eq(self.i.payload)

        with m.FSM():
            with m.State("CODE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += code.eq(self.i.payload)
                    m.next = "UNKNOWN"
                with m.Switch(self.i.payload):
                    for known in self._codes:
                        size = ARGUMENT_BYTES[known]
                        with m.Case(known):
                            m.d.sync += left.eq(size)
                            with m.If(self.i.valid):
                                m.next = "ARGUMENTS" if size else "OFFER"
            with m.State("ARGUMENTS"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += arguments.eq(Cat(arguments[8:], self.i.payload))
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.sync += [offer.eq(code == known) for known, offer in offered.items()]
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
                with m.If(finished):
                    m.next = "CODE"
            with m.State("UNKNOWN"):
                m.d.comb += [self.unknown.eq(1), self.i.ready.eq(1)]
        return m
