"""The whole device between a byte port and a memory port."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.control import Control
from tritstream_hw.link import Link
from tritstream_hw.memory.player import MemorySource
from tritstream_hw.memory.port import MemorySignature, write_layout
from tritstream_hw.stream.register import Register

__all__ = ["Soc"]


class Soc(wiring.Component):
    """Link, control, source and accelerator.

    RESET of the link resets control and accelerator; memories keep their content.

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
        Bytes from and to the PHY.
    memory : :py:`Out(MemorySignature(config))`
        Memory of the image; there only if `memory_bytes` is not 0.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, accelerator):
        self._config = config
        self._build_id = build_id
        self._accelerator = accelerator
        members = {
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
        }
        if config.memory_bytes > 0:
            members["memory"] = Out(MemorySignature(config))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        control, accelerator = Control(self._config, self._build_id), self._accelerator
        m.submodules.link = link = Link(self._config)

        # With thousands of loads the reset has to come out of a flip-flop, a cycle after the link
        # has reset itself. In that cycle nothing passes between the link and what is reset.
        reset = Signal()
        m.d.sync += reset.eq(link.reset)
        m.submodules.control = ResetInserter(reset)(control)
        m.submodules.accelerator = ResetInserter(reset)(accelerator)
        for source, sink in ((link.o, control.i), (control.o, link.i)):
            m.d.comb += [
                sink.payload.eq(source.payload),
                sink.valid.eq(source.valid & ~reset),
                source.ready.eq(sink.ready & ~reset),
            ]

        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))
        wiring.connect(m, control.accelerator, accelerator)
        m.d.comb += control.counters.eq(link.counters)

        if self._config.memory_bytes > 0:
            m.submodules.source = source = MemorySource(self._config)
            # An offer to the memory stands even if its maker is reset.
            m.submodules.write_register = register = Register(write_layout(self._config))
            memory = wiring.flipped(self.memory)
            m.d.comb += source.abandon.eq(reset)
            wiring.connect(m, control.region, source.region)
            wiring.connect(m, source.o, control.beats)
            wiring.connect(m, source.read_request, memory.read_request)
            wiring.connect(m, memory.read_data, source.read_data)
            wiring.connect(m, control.write, register.i)
            wiring.connect(m, register.o, memory.write)
        return m
