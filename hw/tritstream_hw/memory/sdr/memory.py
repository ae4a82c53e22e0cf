"""An SDR SDRAM behind the memory port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.crossing import MemoryCrossing
from tritstream_hw.memory.port import MemorySignature
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.controller import SdrController
from tritstream_hw.memory.sdr.pads import PadsSignature

__all__ = ["SdrMemory"]


class SdrMemory(wiring.Component):
    """An `SdrController` in the domain ``memory``, and the way to it from ``sync``.

    Parameters
    ----------
    chip : SdrChip
        What is behind the pads.
    clock_hz : int
        Frequency of the domain ``memory``.
    beat_bytes : int
        `P`, a multiple of the bytes of a word.
    beats : int
        That wait for the user, a power of two.
    read_cycles : int
        Cycles from a READ on `pads` to its first word there.

    Members
    -------
    bus : :py:`In(MemorySignature(P))`
        The port.
    pads : :py:`Out(PadsSignature(chip))`
        To the chip, in the domain ``memory``.
    """

    def __init__(self, *, chip: SdrChip, clock_hz: int, beat_bytes: int, beats: int,
                 read_cycles: int):
        self._controller = SdrController(chip=chip, clock_hz=clock_hz, beat_bytes=beat_bytes,
                                         read_cycles=read_cycles)
        self._crossing = MemoryCrossing(beat_bytes=beat_bytes, beats=beats,
                                        margin=self._controller.margin, memory_domain="memory")
        super().__init__({
            "bus": In(MemorySignature(beat_bytes)),
            "pads": Out(PadsSignature(chip)),
        })

    def elaborate(self, platform):
        m = Module()
        controller, crossing = self._controller, self._crossing
        m.submodules.controller = DomainRenamer("memory")(controller)
        m.submodules.crossing = crossing
        wiring.connect(m, wiring.flipped(self.bus), crossing.bus)
        wiring.connect(m, crossing.command, controller.command)
        wiring.connect(m, controller.data, crossing.data)
        wiring.connect(m, controller.pads, wiring.flipped(self.pads))
        m.d.comb += controller.room.eq(crossing.room)
        return m
