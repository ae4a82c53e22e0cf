"""A device whose image lies in on-chip memory, for tests."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.memory.block import BlockMemory
from tritstream_hw.soc import Soc

__all__ = ["OnChipDevice"]


class OnChipDevice(wiring.Component):
    """`Soc` with a `BlockMemory`, if the configuration has any memory.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the link.
    """

    def __init__(self, config: BuildConfig, accelerator):
        self._config = config
        self._accelerator = accelerator
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.soc = soc = Soc(self._config, self._config.digest(), self._accelerator)
        wiring.connect(m, wiring.flipped(self.rx), soc.rx)
        wiring.connect(m, soc.tx, wiring.flipped(self.tx))
        if self._config.memory_bytes:
            m.submodules.memory = memory = BlockMemory(
                beat_bytes=self._config.beat_bytes,
                beats=self._config.memory_bytes // self._config.beat_bytes)
            wiring.connect(m, soc.memory, memory.bus)
        return m
