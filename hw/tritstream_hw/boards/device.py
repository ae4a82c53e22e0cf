"""A device between its two streams of bytes: what all boards have in common."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.flash.reader import FlashSignature
from tritstream_hw.memory.block import BlockMemory
from tritstream_hw.soc import Soc

__all__ = ["BareDevice"]


class BareDevice(wiring.Component):
    """`Soc` and the memories of its image.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    accelerator
        Component with the ports of :class:`AcceleratorSignature`.
    memory : wiring.Component or None
        The only memory, with the port `bus`, and if it has registers, `access` and `abandon`; None:
        a `BlockMemory` for each row group, if the configuration has any memory.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the link.
    flash : :py:`Out(FlashSignature())`
        See `Soc`; only if `flash_offset` is not 0.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, accelerator, memory=None):
        self._soc = Soc(config, build_id, accelerator)
        self._memories = [] if memory is None else [memory]
        self._registers = config.memory_registers > 0
        if memory is None and config.memory_bytes:
            self._memories = [BlockMemory(beat_bytes=config.beat_bytes,
                                          beats=config.memory_bytes // config.stripe_bytes)
                              for _ in range(config.groups)]
        self._starts_from_flash = config.flash_offset > 0
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
            **({"flash": Out(FlashSignature())} if self._starts_from_flash else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.soc = soc = self._soc
        wiring.connect(m, wiring.flipped(self.rx), soc.rx)
        wiring.connect(m, soc.tx, wiring.flipped(self.tx))
        for n, memory in enumerate(self._memories):
            m.submodules[f"memory{n}"] = memory
            wiring.connect(m, soc.memories[n], memory.bus)
        if self._registers:
            memory, = self._memories
            wiring.connect(m, soc.registers, memory.access)
            m.d.comb += memory.abandon.eq(soc.abandon_registers)
        if self._starts_from_flash:
            wiring.connect(m, soc.flash, wiring.flipped(self.flash))
        return m
