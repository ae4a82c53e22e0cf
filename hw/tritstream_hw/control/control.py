"""The message layer: carries out the commands of a host."""

import functools
import operator

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.link.protocol import Code, Status
from tritstream_hw.control.access import Access
from tritstream_hw.control.digest import Digest
from tritstream_hw.control.identify import Identify
from tritstream_hw.control.messages import CONFIGURATION, ITEM
from tritstream_hw.control.parser import Parser
from tritstream_hw.control.reply import ReplySerialiser, item
from tritstream_hw.control.run import Run
from tritstream_hw.control.write import Write
from tritstream_hw.link import COUNTERS
from tritstream_hw.memory.player import LinkSource, PassSource
from tritstream_hw.memory.port import REGION, beat_layout, write_layout
from tritstream_hw.ports import AcceleratorSignature
from tritstream_hw.stream.skid import Skid

__all__ = ["Control"]


class Control(wiring.Component):
    """Carries out commands one after the other, see `docs/link.md`.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What was built.
    build_id : bytes
        Eight bytes that tell builds apart.

    Members
    -------
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Commands and replies.
    accelerator : :py:`Out(AcceleratorSignature(config))`
        The accelerator.
    region : :py:`Out(stream.Signature(REGION))`
        To a :class:`MemorySource`.
    beats : :py:`In(stream.Signature(beat_layout(config)))`
        From the :class:`MemorySource`.
    write : :py:`Out(stream.Signature(write_layout(config)))`
        To the memory.
    counters : :py:`In(COUNTERS)`
        Of the link.
    """

    def __init__(self, config: BuildConfig, build_id: bytes):
        self._config = config
        self._build_id = build_id
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "accelerator": Out(AcceleratorSignature(config)),
            "region": Out(stream.Signature(REGION)),
            "beats": In(stream.Signature(beat_layout(config))),
            "write": Out(stream.Signature(write_layout(config))),
            "counters": In(COUNTERS),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.parser = parser = Parser()
        m.submodules.reply = reply = ReplySerialiser()
        m.submodules.link_source = link_source = LinkSource(config)
        m.submodules.pass_source = pass_source = PassSource(config)
        m.submodules.identify = identify = Identify(config, self._build_id)
        m.submodules.write = write = Write(config)
        m.submodules.digest = digest = Digest(config)
        m.submodules.run = run = Run(config)
        m.submodules.access = access = Access(config)

        # Streams end at buffers, or `ready` would go from the core to the receiver in one cycle.
        m.submodules.bytes_buffer = bytes_buffer = Skid(8)
        m.submodules.link_buffer = link_buffer = Skid(beat_layout(config))
        m.submodules.memory_buffer = memory_buffer = Skid(beat_layout(config))
        m.submodules.reply_buffer = reply_buffer = Skid(ITEM)
        wiring.connect(m, reply_buffer.o, reply.i)
        wiring.connect(m, wiring.flipped(self.i), bytes_buffer.i)
        wiring.connect(m, bytes_buffer.o, parser.i)
        wiring.connect(m, link_source.o, link_buffer.i)
        wiring.connect(m, wiring.flipped(self.beats), memory_buffer.i)
        wiring.connect(m, parser.identify, identify.command)
        wiring.connect(m, parser.write, write.command)
        wiring.connect(m, parser.digest, digest.command)
        wiring.connect(m, parser.run, run.command)
        wiring.connect(m, parser.read, access.read)
        wiring.connect(m, parser.store, access.store)
        wiring.connect(m, write.write, wiring.flipped(self.write))
        wiring.connect(m, reply.o, wiring.flipped(self.o))
        wiring.connect(m, run.play, pass_source.play)
        m.d.comb += pass_source.drop.eq(run.drop)

        self._connect_accelerator(m, run, access, pass_source)
        self._configure(m, parser, run)
        self._share(m, parser, link_source, (link_buffer.o, memory_buffer.o),
                    pass_source, write, digest, access)
        self._join_replies(m, parser, reply_buffer, (identify, write, digest, run, access))
        return m

    def _connect_accelerator(self, m, run, access, pass_source):
        accelerator = wiring.flipped(self.accelerator)
        wiring.connect(m, pass_source.o, accelerator.beats)
        wiring.connect(m, access.memory, accelerator.memory)
        wiring.connect(m, run.start, accelerator.start)
        wiring.connect(m, accelerator.done, run.done)
        wiring.connect(m, accelerator.logits, run.logits)
        m.d.comb += self.accelerator.candidate.eq(run.candidate)
        for name in "best", "scale", "digest", "cycles", "stalls":
            m.d.comb += getattr(run, name).eq(getattr(self.accelerator, name))
        m.d.comb += access.counters.eq(Cat(self.counters, self.accelerator.beats_taken))

    def _configure(self, m, parser, run):
        """Keep the arguments of CONFIGURE; restart the digest with IDENTIFY."""
        configuration = Signal(CONFIGURATION)
        m.d.comb += run.configuration.eq(configuration)
        m.d.comb += parser.row_units.eq(configuration.row_units)
        with m.If(parser.configure.valid):
            m.d.sync += configuration.eq(parser.configure.payload)
        with m.If(parser.identify.valid):
            m.d.comb += self.accelerator.clear_digest.eq(1)

    def _share(self, m, parser, link_source, beats, pass_source, write, digest, access):
        """Give streams to the command that is carried out."""
        source = link_source.i
        from_link, from_memory = beats
        m.d.comb += [
            source.payload.eq(parser.o.payload),
            access.bytes.payload.eq(parser.o.payload),
            write.beats.payload.eq(from_link.payload),
            pass_source.link.payload.eq(from_link.payload),
            digest.beats.payload.eq(from_memory.payload),
            pass_source.memory.payload.eq(from_memory.payload),
            self.region.payload.eq(pass_source.region.payload),
        ]

        def give(i, o):
            m.d.comb += [o.valid.eq(i.valid), i.ready.eq(o.ready)]

        with m.If(parser.write.valid):
            give(parser.o, source)
            give(from_link, write.beats)
        with m.If(parser.run.valid):
            give(parser.o, source)
            give(from_link, pass_source.link)
            give(pass_source.region, self.region)
            give(from_memory, pass_source.memory)
        with m.If(parser.store.valid):
            give(parser.o, access.bytes)
        with m.If(parser.digest.valid):
            give(digest.region, self.region)
            give(from_memory, digest.beats)
            m.d.comb += self.region.payload.eq(digest.region.payload)

    def _join_replies(self, m, parser, reply, handlers):
        """Send what the command that is carried out has to say."""
        refused = Signal()
        fits = parser.configure.p.vocab <= self._config.max_vocab
        status = Mux(fits, C(Status.OK, 8), C(Status.OUT_OF_RANGE, 8))
        offers = [
            (parser.configure.valid, item(C(Code.CONFIGURE, 8), status)),
            (parser.unknown & ~refused, item(C(Code.UNKNOWN, 8))),
            *((handler.reply.valid, handler.reply.payload.as_value()) for handler in handlers),
        ]
        # One at most has anything to say.
        m.d.comb += [
            reply.i.valid.eq(Cat(valid for valid, _ in offers).any()),
            reply.i.payload.eq(functools.reduce(
                operator.or_, (Mux(valid, payload, 0) for valid, payload in offers))),
            parser.configure.ready.eq(reply.i.ready),
            *(handler.reply.ready.eq(reply.i.ready) for handler in handlers),
        ]
        with m.If(parser.unknown & reply.i.ready):
            m.d.sync += refused.eq(1)
