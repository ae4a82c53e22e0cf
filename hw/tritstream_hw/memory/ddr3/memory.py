"""A DDR3 SDRAM behind the memory port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tritstream_hw.memory.access import AccessSignature
from tritstream_hw.memory.crossing import MemoryCrossing
from tritstream_hw.memory.ddr3.bursts import Bursts
from tritstream_hw.memory.ddr3.core import Ddr3Core
from tritstream_hw.memory.ddr3.crossing import RegistersCrossing
from tritstream_hw.memory.port import MemorySignature

__all__ = ["Ddr3Memory"]


class Ddr3Memory(wiring.Component):
    """A `Ddr3Core` in a domain of its own, and the way to it from ``sync``.

    Parameters
    ----------
    core : Ddr3Core
        The controller.
    beat_bytes : int
        `P`: a burst, or a half of one.
    beats : int
        That wait for the user, a power of two.
    memory_domain : str
        The core's clock.

    Members
    -------
    bus : :py:`In(MemorySignature(P))`
        The port.
    access : :py:`In(AccessSignature())`
        Registers of the core.
    abandon : :py:`In(1)`
        Strobe: nobody waits for what was asked of them.
    """

    def __init__(self, core: Ddr3Core, *, beat_bytes: int, beats: int,
                 memory_domain: str = "memory"):
        self._core = core
        self._bursts = Bursts(chip=core.chip, beat_bytes=beat_bytes)
        self._crossing = MemoryCrossing(beat_bytes=beat_bytes, beats=beats,
                                        margin=self._bursts.margin, memory_domain=memory_domain)
        self._domain = memory_domain
        super().__init__({
            "bus": In(MemorySignature(beat_bytes)),
            "access": In(AccessSignature()),
            "abandon": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        core, bursts, crossing = self._core, self._bursts, self._crossing
        m.submodules.core = DomainRenamer(self._domain)(core)
        m.submodules.bursts = DomainRenamer(self._domain)(bursts)
        m.submodules.crossing = crossing
        wiring.connect(m, wiring.flipped(self.bus), crossing.bus)
        wiring.connect(m, crossing.command, bursts.command)
        wiring.connect(m, bursts.data, crossing.data)
        wiring.connect(m, bursts.core, core.user)
        m.submodules.registers = registers = RegistersCrossing(memory_domain=self._domain)
        wiring.connect(m, wiring.flipped(self.access), registers.access)
        wiring.connect(m, registers.registers, core.registers)
        m.d.comb += [bursts.room.eq(crossing.room), registers.abandon.eq(self.abandon)]
        return m
