"""Splits the command stream into commands and their data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import UNIT
from tritstream.link.protocol import Code, RunFlag
from tritstream_hw.control.messages import ARGUMENTS, has

__all__ = ["Parser"]

ARGUMENT_BYTES = {code: layout.size // 8 for code, layout in ARGUMENTS.items()}


def _view(arguments, code):
    """Arguments of `code`, which are the last bytes that have been shifted in."""
    layout = ARGUMENTS[code]
    return data.View(layout, arguments[len(arguments) - layout.size:])


class Parser(wiring.Component):
    """Reads an operation code and its arguments, then hands the stream to whoever carries it out.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        The command stream, one byte per cycle.
    o : :py:`Out(stream.Signature(8))`
        Data of the present command and no more, passed on in the cycle in which they come.
    row_units : :py:`In(16)`
        Size of an embedding row, which is part of a streamed pass.
    identify, write, ... : :py:`Out(stream.Signature(ARGUMENTS[code]))`
        One stream per command. The offer stands while the command is carried out.
    unknown : :py:`Out(1)`
        The operation code is not known. From then on the stream is thrown away.
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "row_units": In(16),
            "unknown": Out(1),
            **{code.name.lower(): Out(stream.Signature(layout))
               for code, layout in ARGUMENTS.items()},
        })

    def _data_bytes(self, code, arguments):
        """How many bytes of data follow the arguments."""
        run = _view(arguments, Code.RUN)
        units = Mux(has(run.flags, RunFlag.STREAMED), run.tape_units + self.row_units, 0)
        units = Mux(code == Code.WRITE, _view(arguments, Code.WRITE).units, units)
        words = Mux(code == Code.STORE, _view(arguments, Code.STORE).words, 0)
        return Mux((code == Code.WRITE) | (code == Code.RUN), units * UNIT, words * 4)

    def elaborate(self, platform):
        m = Module()
        code, left = Signal(8), Signal(range(max(ARGUMENT_BYTES.values()) + 1))
        data_left, more = Signal(40), Signal()       # data bytes to come; are there any
        arguments = Signal(max(layout.size for layout in ARGUMENTS.values()))
        taken, finished = Signal(), Signal()
        # Registered, because whoever carries out a command decides much by it.
        offered = {known: Signal(name=f"offered_{known.name.lower()}") for known in ARGUMENTS}
        for known, offer in offered.items():
            command = getattr(self, known.name.lower())
            m.d.comb += command.valid.eq(offer)
            m.d.comb += command.payload.eq(_view(arguments, known))
            with m.If(offer & command.ready):
                m.d.sync += offer.eq(0)
                m.d.comb += finished.eq(1)
        m.d.comb += taken.eq(self.i.valid & self.i.ready)
        m.d.comb += self.o.payload.eq(self.i.payload)

        with m.FSM():
            with m.State("CODE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += code.eq(self.i.payload)
                    m.next = "UNKNOWN"
                with m.Switch(self.i.payload):
                    for known, size in ARGUMENT_BYTES.items():
                        with m.Case(known):
                            m.d.sync += left.eq(size)
                            with m.If(self.i.valid):
                                m.next = "ARGUMENTS" if size else "MEASURE"
            with m.State("ARGUMENTS"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += arguments.eq(Cat(arguments[8:], self.i.payload))
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "MEASURE"
            with m.State("MEASURE"):
                size = self._data_bytes(code, arguments)
                m.d.sync += [data_left.eq(size), more.eq(size != 0)]
                m.d.sync += [offer.eq(code == known) for known, offer in offered.items()]
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += self.o.valid.eq(self.i.valid & more)
                m.d.comb += self.i.ready.eq(self.o.ready & more)
                with m.If(taken):
                    m.d.sync += data_left.eq(data_left - 1)
                    m.d.sync += more.eq(data_left != 1)
                with m.If(finished):
                    m.next = "CODE"
            with m.State("UNKNOWN"):
                m.d.comb += [self.unknown.eq(1), self.i.ready.eq(1)]
        return m
