"""The whole device between a byte port and a memory port."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.construct import construct
from tritstream_hw.control import Control
from tritstream_hw.flash.reader import FlashReader, FlashSignature, clock_period
from tritstream_hw.flash.starter import FlashStarter
from tritstream_hw.link import Link
from tritstream_hw.memory.access import AccessSignature
from tritstream_hw.memory.channels import Channels
from tritstream_hw.memory.player import Player
from tritstream_hw.memory.port import MemorySignature
from tritstream_hw.memory.prefetch import Prefetch
from tritstream_hw.ports import ControlledSignature, part
from tritstream_hw.stream.register import Register

__all__ = ["Soc"]


class Soc(wiring.Component):
    """Link, control, player and accelerator, and a queue between the latter two if there is one.

    Several memories are one to all of these.

    RESET of the link resets control and accelerator; memories keep their content. A pass that the
    accelerator gives up resets it alone.

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
    memories : :py:`Out(MemorySignature(P)).array(G)`
        Memories of the image; there only if `memory_bytes` is not 0.
    registers, abandon_registers : :py:`Out(AccessSignature())`, :py:`Out(1)`
        Its registers, and a strobe: nobody waits for what was asked; only if `memory_registers` is
        not 0.
    flash : :py:`Out(FlashSignature())`
        The flash memory that the image may come from when the device starts; only if `flash_offset`
        is not 0.
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
            members["memories"] = Out(MemorySignature(config.beat_bytes)).array(config.groups)
        if config.memory_registers > 0:
            members |= {"registers": Out(AccessSignature()), "abandon_registers": Out(1)}
        if config.flash_offset > 0:
            members |= {"flash": Out(FlashSignature())}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        control, accelerator = Control(config, self._build_id), self._accelerator
        m.submodules.link = link = construct(Link, config)
        m.submodules.player = player = Player(
            beat_bytes=config.stripe_bytes, memory_units=config.memory_units)

        # With thousands of loads a reset has to come out of a flip-flop, a cycle after the link
        # has reset itself. In that cycle nothing passes between the link and what is reset.
        reset, restart = Signal(), Signal()
        m.d.sync += [reset.eq(link.reset), restart.eq(link.reset | control.failed)]
        m.submodules.control = ResetInserter(reset)(control)
        m.submodules.accelerator = ResetInserter(restart)(accelerator)
        m.d.comb += player.abandon.eq(reset)
        m.d.sync += Assert(~restart | reset | ~control.accelerator.start.valid,
                           "a pass is started while the one before is still given up")
        commands, replies = control.i, control.o
        if config.flash_offset > 0:
            commands, replies = self._start_from_flash(m, control, reset)
        # A byte comes out of a block RAM half a cycle late.
        received = Register(8)
        m.submodules.received = ResetInserter(reset)(received)
        wiring.connect(m, received.o, commands)
        for source, sink in ((link.o, received.i), (replies, link.i)):
            m.d.comb += [
                sink.payload.eq(source.payload),
                sink.valid.eq(source.valid & ~reset),
                source.ready.eq(sink.ready & ~reset),
            ]

        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))
        wiring.connect(m, control.accelerator,
                       part(accelerator, construct(ControlledSignature, config)))
        wiring.connect(m, control.player, player.control)
        beats = player.accelerator
        if config.prefetch_beats > 0:
            prefetch = Prefetch(beat_bytes=config.stripe_bytes, beats=config.prefetch_beats)
            # What the accelerator gave up is forgotten; the player drops the rest of it.
            m.submodules.prefetch = ResetInserter(restart)(prefetch)
            wiring.connect(m, beats, prefetch.i)
            beats = prefetch.o
        wiring.connect(m, beats, accelerator.beats)
        wiring.connect(m, control.counters, link.counters)
        if config.memory_bytes > 0:
            bus, memories = player.memory, [wiring.flipped(port) for port in self.memories]
            if config.groups > 1:
                m.submodules.channels = channels = construct(Channels, config)
                wiring.connect(m, bus, channels.bus)
                for memory, port in zip(channels.memories, memories, strict=True):
                    wiring.connect(m, memory, port)
            else:
                wiring.connect(m, bus, memories[0])
        if config.memory_registers > 0:
            wiring.connect(m, control.registers, wiring.flipped(self.registers))
            m.d.comb += self.abandon_registers.eq(reset)
        return m

    def _start_from_flash(self, m, control, reset):
        """Put what starts from the flash memory between host and control; return the host's ports.

        A RESET that interrupts it also resets the control: it begins again.
        """
        config = self._config
        reader = FlashReader(address=config.flash_offset,
                             period=clock_period(config.clock_hz))
        starter = FlashStarter(unit_bytes=config.stripes.unit_bytes,
                               memory_units=config.memory_units)
        again = Signal()
        m.submodules.flash_reader = ResetInserter(again)(reader)
        m.submodules.flash_starter = ResetInserter(again)(starter)
        wiring.connect(m, reader.o, starter.bytes)
        wiring.connect(m, reader.pads, wiring.flipped(self.flash))
        wiring.connect(m, starter.commands, control.i)
        wiring.connect(m, control.o, starter.replies)
        m.d.comb += [
            again.eq(reset & ~starter.done),
            reader.stop.eq(starter.done),
            control.found.eq(starter.found),
        ]
        return starter.i, starter.o
