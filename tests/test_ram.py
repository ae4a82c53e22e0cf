"""Memories of which nothing is promised while a word is read and written at once."""

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import Out

from tritstream_hw.ram import Ram
from tritstream_sim.verilate.export import export


class Ports(wiring.Component):
    """A memory of sixteen bytes, and its ports."""

    def __init__(self, memory):
        self.memory = memory
        super().__init__({"read": Out(ReadPort.Signature(addr_width=4, shape=8)),
                          "write": Out(WritePort.Signature(addr_width=4, shape=8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self.memory
        wiring.connect(m, wiring.flipped(self.read), memory.read_port())
        wiring.connect(m, wiring.flipped(self.write), memory.write_port())
        return m


@pytest.mark.parametrize("memory, unknown", [
    (Ram(shape=8, depth=16), True), (Memory(shape=8, depth=16, init=[]), False)],
    ids=["ram", "memory"])
def test_a_simulation_does_not_know_a_word_that_is_being_written(memory, unknown):
    text = export(Ports(memory), "ports")
    assert ("8'hxx" in text) == unknown
