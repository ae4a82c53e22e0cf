"""Accesses to the registers of a DDR3 controller, from one clock to another."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.access import REGISTER, AccessSignature
from tritstream_hw.memory.ddr3.registers import RegistersSignature
from tritstream_hw.stream.handoff import Handoff

__all__ = ["RegistersCrossing"]


class RegistersCrossing(wiring.Component):
    """Takes one access at a time to the controller's clock, and what it reads back.

    It is not reset with its user: what is under way goes on, and the next access waits for its end.

    Parameters
    ----------
    memory_domain : str
        The controller's clock; the user's is ``sync``.

    Members
    -------
    access : :py:`In(AccessSignature())`
        The port.
    abandon : :py:`In(1)`
        Strobe: nobody waits for the word of the access that is under way.
    registers : :py:`Out(RegistersSignature())`
        Those of the controller.
    """

    def __init__(self, *, memory_domain: str):
        self._domain = memory_domain
        super().__init__({
            "access": In(AccessSignature()),
            "abandon": In(1),
            "registers": Out(RegistersSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.there = there = Handoff(REGISTER, i_domain="sync", o_domain=self._domain)
        m.submodules.back = back = Handoff(32, i_domain=self._domain, o_domain="sync")
        request, word = self.access.request, self.access.word
        busy, waited = Signal(), Signal()           # an access is under way; for its word
        free = ~busy & ~self.abandon
        m.d.comb += [
            there.i.payload.eq(request.payload),
            there.i.valid.eq(request.valid & free),
            request.ready.eq(there.i.ready & free),
            word.payload.eq(back.o.payload),
            word.valid.eq(back.o.valid & waited & ~self.abandon),
            back.o.ready.eq(~waited | word.ready),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += [busy.eq(1), waited.eq(~request.p.write)]
        with m.If(back.o.valid & back.o.ready):
            m.d.sync += busy.eq(0)
        with m.If(self.abandon):
            m.d.sync += waited.eq(0)

        # Each access is answered, when its word is there.
        bus, asked = self.registers, Signal()
        m.d.comb += [
            bus.address.eq(there.o.p.address),
            bus.i.eq(there.o.p.data),
            bus.write.eq(there.o.valid & there.o.p.write & ~asked),
            bus.read.eq(there.o.valid & ~there.o.p.write & ~asked),
            back.i.payload.eq(bus.o),
            back.i.valid.eq(asked),
            there.o.ready.eq(asked & back.i.ready),
        ]
        m.d[self._domain] += asked.eq(there.o.valid & ~there.o.ready)
        return m
