"""A device whose image lies in an SDR SDRAM, between its two streams of bytes and the chip."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.memory.crossing import MemoryCrossing
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.memory.sdr.controller import SdrController
from tritstream_hw.memory.sdr.pads import PadsSignature
from tritstream_hw.phy.sdr import PAD_CYCLES
from tritstream_hw.soc import Soc

__all__ = ["SdrDevice"]

QUEUE_BEATS = 512           # one block RAM, at P = 4: longer than the core is idle between stages


class SdrDevice(wiring.Component):
    """`Soc` with an `SdrController` in the domain ``memory``.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    chip : SdrChip
        The memory.
    memory_hz : int
        Frequency of the domain ``memory``.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the link.
    pads : :py:`Out(PadsSignature(chip))`
        To the chip, in the domain ``memory``.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, *, chip: SdrChip, memory_hz: int):
        self._config = config
        self._build_id = build_id
        self._chip = chip
        self._memory_hz = memory_hz
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
            "pads": Out(PadsSignature(chip)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.soc = soc = Soc(config, self._build_id, Accelerator(config))
        wiring.connect(m, wiring.flipped(self.rx), soc.rx)
        wiring.connect(m, soc.tx, wiring.flipped(self.tx))

        controller = SdrController(chip=self._chip, clock_hz=self._memory_hz,
                                   beat_bytes=config.beat_bytes,
                                   read_cycles=self._chip.cas_latency + PAD_CYCLES)
        m.submodules.controller = DomainRenamer("memory")(controller)
        m.submodules.crossing = crossing = MemoryCrossing(
            beat_bytes=config.beat_bytes, beats=QUEUE_BEATS, margin=controller.margin,
            memory_domain="memory")
        wiring.connect(m, soc.memory, crossing.bus)
        wiring.connect(m, crossing.command, controller.command)
        wiring.connect(m, controller.data, crossing.data)
        wiring.connect(m, controller.pads, wiring.flipped(self.pads))
        m.d.comb += controller.room.eq(crossing.room)
        return m
