"""The message layer: carries out the commands of a host."""

import functools
import operator

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream.link.messages import RECORD_WORDS
from tritstream.link.protocol import Code, Space, Status
from tritstream_hw.control.access import Access
from tritstream_hw.control.extents import Extents
from tritstream_hw.control.identify import Identify
from tritstream_hw.control.messages import CONFIGURATION, ITEM
from tritstream_hw.control.parser import Parser
from tritstream_hw.control.reply import ReplySerialiser, item
from tritstream_hw.control.run import Run
from tritstream_hw.link import COUNTERS
from tritstream_hw.memory.player import PlayerSignature
from tritstream_hw.ports import ControlledSignature, PassSignature, part
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
    accelerator : :py:`Out(ControlledSignature())`
        The accelerator.
    failed : :py:`Out(1)`
        Strobe: the accelerator has given a pass up, and has to be reset.
    player : :py:`Out(PlayerSignature(P))`
        Moves all beats.
    counters : :py:`In(COUNTERS)`
        Of the link.
    """

    def __init__(self, config: BuildConfig, build_id: bytes):
        self._config = config
        self._build_id = build_id
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "accelerator": Out(ControlledSignature()),
            "failed": Out(1),
            "player": Out(PlayerSignature(config.beat_bytes)),
            "counters": In(COUNTERS),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        memory_units = config.memory_bytes // UNIT
        m.submodules.parser = parser = Parser()
        m.submodules.reply = reply = ReplySerialiser()
        m.submodules.identify = identify = Identify(config, self._build_id)
        m.submodules.extents = extents = Extents(
            beat_bytes=config.beat_bytes, memory_units=memory_units)
        m.submodules.run = run = Run(
            candidates=config.candidates, token_bits=config.token_bits,
            max_stages=config.max_stages, memory_units=memory_units)
        m.submodules.access = access = Access({
            Space.VECTORS: config.vector_words, Space.STATE: config.max_state,
            Space.RECORDS: RECORD_WORDS * config.max_stages})

        # The streams of bytes end at buffers, which cut the paths to and from the link.
        m.submodules.bytes_buffer = bytes_buffer = Skid(8)
        m.submodules.reply_buffer = reply_buffer = Skid(ITEM)
        wiring.connect(m, wiring.flipped(self.i), bytes_buffer.i)
        wiring.connect(m, bytes_buffer.o, parser.i)
        wiring.connect(m, reply_buffer.o, reply.i)
        wiring.connect(m, reply.o, wiring.flipped(self.o))
        wiring.connect(m, parser.identify, identify.command)
        wiring.connect(m, parser.write, extents.write)
        wiring.connect(m, parser.digest, extents.digest)
        wiring.connect(m, parser.run, run.command)
        wiring.connect(m, parser.read, access.read)
        wiring.connect(m, parser.store, access.store)

        accelerator = wiring.flipped(self.accelerator)
        wiring.connect(m, run.accelerator, part(accelerator, PassSignature()))
        wiring.connect(m, access.memory, accelerator.memory)
        m.d.comb += [
            self.failed.eq(run.failed),
            self.accelerator.clear_digest.eq(parser.identify.valid),
            access.counters.eq(Cat(self.counters, self.accelerator.beats_taken)),
        ]
        self._configure(m, parser, run)
        self._connect_player(m, parser, extents, run, access)
        self._join_replies(m, parser, reply_buffer, (identify, extents, run, access))
        return m

    def _configure(self, m, parser, run):
        """Keep the arguments of CONFIGURE."""
        configuration = Signal(CONFIGURATION)
        m.d.comb += run.configuration.eq(configuration)
        with m.If(parser.configure.valid):
            m.d.sync += configuration.eq(parser.configure.payload)

    def _connect_player(self, m, parser, extents, run, access):
        """Moves of the command that is carried out, and its data to whoever takes them."""
        player = self.player
        wiring.connect(m, wiring.flipped(player.digest), extents.beats)
        m.d.comb += [
            player.command.valid.eq(run.move.valid | extents.move.valid),
            player.command.payload.eq(Mux(parser.run.valid, run.move.payload,
                                          extents.move.payload)),
            run.move.ready.eq(player.command.ready),
            extents.move.ready.eq(player.command.ready),
            player.drop.eq(run.drop | extents.drop),
            run.idle.eq(player.idle),
            extents.idle.eq(player.idle),
            player.bytes.payload.eq(parser.o.payload),
            access.bytes.payload.eq(parser.o.payload),
            player.bytes.valid.eq(parser.o.valid),
            access.bytes.valid.eq(parser.o.valid),
            parser.o.ready.eq(player.bytes.ready | access.bytes.ready),
        ]

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
