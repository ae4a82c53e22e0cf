"""A stream from one clock to another, a payload at a time."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["Handoff"]


class Handoff(wiring.Component):
    """One place between two domains, for payloads that are rare.

    A payload stands still in the first domain until the second one says that it has taken it; only
    two bits are synchronised, one each way. One passes in some three cycles of each domain.

    Parameters
    ----------
    shape : shape-like
        Of the payload.
    i_domain, o_domain : str
        Where it comes from, and where it goes.

    Members
    -------
    i, o : :py:`In(stream.Signature(shape))`, :py:`Out(stream.Signature(shape))`
        In `i_domain` and `o_domain`.
    """

    def __init__(self, shape, *, i_domain: str, o_domain: str):
        self._i_domain = i_domain
        self._o_domain = o_domain
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        held = Signal.like(self.i.payload)
        # Each changes when a payload comes, or goes.
        given, taken = Signal(), Signal()
        given_there, taken_here = Signal(), Signal()
        m.submodules.there = FFSynchronizer(given, given_there, o_domain=self._o_domain)
        m.submodules.back = FFSynchronizer(taken, taken_here, o_domain=self._i_domain)
        m.d.comb += [
            self.i.ready.eq(given == taken_here),
            self.o.valid.eq(given_there != taken),
            self.o.payload.eq(held),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d[self._i_domain] += [held.eq(self.i.payload), given.eq(~given)]
        with m.If(self.o.valid & self.o.ready):
            m.d[self._o_domain] += taken.eq(~taken)
        return m
