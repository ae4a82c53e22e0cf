"""CONFIGURE: where the image lies."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from tritstream.link.protocol import Code, Status
from tritstream_hw.arithmetic.bounds import at_most
from tritstream_hw.control.messages import CONFIGURATION, command_members
from tritstream_hw.control.reply import Reply

__all__ = ["Configure"]


class Configure(wiring.Component):
    """Keeps the arguments of CONFIGURE if the vocabulary fits, and answers.

    Parameters
    ----------
    max_vocab : int
        Largest vocabulary.

    Members
    -------
    command, reply
        See :func:`command_members`.
    configuration : :py:`Out(CONFIGURATION)`
        Of the latest CONFIGURE that was not refused: tokens below its vocabulary have rows.
    """

    def __init__(self, *, max_vocab: int):
        self._max_vocab = max_vocab
        super().__init__({**command_members(Code.CONFIGURE), "configuration": Out(CONFIGURATION)})

    def elaborate(self, platform):
        m = Module()
        reply = Reply(m, self.reply, longest=2)
        fits = at_most(self.command.p.vocab, self._max_vocab)
        status = Mux(fits, C(Status.OK, 8), C(Status.OUT_OF_RANGE, 8))
        with m.If(self.command.valid):
            with m.If(fits):
                m.d.sync += self.configuration.eq(self.command.payload)
            m.d.comb += self.command.ready.eq(reply.send(C(Code.CONFIGURE, 8), status))
        return m
