"""A device whose image lies in block RAM, between its two streams of bytes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.memory.block import BlockMemory
from tritstream_hw.soc import Soc

__all__ = ["OnChipDevice"]


class OnChipDevice(wiring.Component):
    """`Soc` with a `BlockMemory`, if the configuration has any memory.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    accelerator
        Component with the ports of :class:`AcceleratorSignature`.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the link.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, accelerator):
        self._config = config
        self._build_id = build_id
        self._accelerator = accelerator
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.soc = soc = Soc(config, self._build_id, self._accelerator)
        wiring.connect(m, wiring.flipped(self.rx), soc.rx)
        wiring.connect(m, soc.tx, wiring.flipped(self.tx))
        if config.memory_bytes:
            m.submodules.memory = memory = BlockMemory(
                beat_bytes=config.beat_bytes, beats=config.memory_bytes // config.beat_bytes)
            wiring.connect(m, soc.memory, memory.bus)
        return m
