"""The prover: that it proves a stream contract that holds and refuses one that does not."""

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_sim.agents.contract import NotProved, held_until_taken, prove


class Contract(wiring.Component):
    """A register between two streams, which forgets a word that nobody takes if `forgets`."""

    i: In(stream.Signature(unsigned(4)))
    o: Out(stream.Signature(unsigned(4)))

    def __init__(self, *, forgets):
        self.forgets = forgets
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(1 if self.forgets else ~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.eq(self.i.payload)
        held_until_taken(m, self.i, Assume)
        held_until_taken(m, self.o, Assert)
        return m


def test_a_contract_that_is_kept_is_proved(tmp_path):
    prove(Contract(forgets=False), tmp_path)


def test_a_contract_that_is_broken_is_refused(tmp_path):
    with pytest.raises(NotProved, match="proof did fail"):
        prove(Contract(forgets=True), tmp_path)
