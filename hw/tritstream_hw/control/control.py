"""The message layer: carries out the commands of a host."""

import functools
import operator

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.flash import Stored
from tritstream.link.messages import Identity
from tritstream.link.protocol import Code
from tritstream.link.spaces import space_words
from tritstream_hw.construct import construct
from tritstream_hw.control.access import Access
from tritstream_hw.control.configure import Configure
from tritstream_hw.control.identify import Identify
from tritstream_hw.control.parser import Parser
from tritstream_hw.control.run import Run
from tritstream_hw.control.spaces import Spaces
from tritstream_hw.link import COUNTERS
from tritstream_hw.memory.access import AccessSignature
from tritstream_hw.memory.player import PlayerSignature
from tritstream_hw.ports import ControlledSignature, PassSignature, part
from tritstream_hw.stream.register import Register
from tritstream_hw.stream.skid import Skid

__all__ = ["Control"]


class Control(wiring.Component):
    """Carries out commands one after the other, see `docs/link.md`.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What was built: IDENTIFY tells most of it.
    build_id : bytes
        Eight bytes that tell builds apart.

    Members
    -------
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Commands and replies.
    accelerator : :py:`Out(ControlledSignature(...))`
        The accelerator.
    failed : :py:`Out(1)`
        Strobe: the accelerator has given a pass up, and has to be reset.
    player : :py:`Out(PlayerSignature(...))`
        Moves all beats.
    counters : :py:`In(COUNTERS)`
        Of the link.
    registers : :py:`Out(AccessSignature())`
        Of the memory; only if it has any.
    found : :py:`In(Stored)`
        In the flash memory; only if `flash_offset` is not 0.
    """

    def __init__(self, config: BuildConfig, build_id: bytes):
        self._config = config
        self._build_id = build_id
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "accelerator": Out(construct(ControlledSignature, config)),
            "failed": Out(1),
            "player": Out(PlayerSignature(beat_bytes=config.stripe_bytes,
                                          memory_units=config.memory_units)),
            "counters": In(COUNTERS),
            **({"registers": Out(AccessSignature())} if config.memory_registers else {}),
            **({"found": In(Stored)} if config.flash_offset else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.parser = parser = Parser(memory_units=config.memory_units)
        m.submodules.identify = identify = Identify(
            identity=Identity.of(config, self._build_id))
        m.submodules.configure = configure = construct(Configure, config)
        m.submodules.run = run = Run(
            candidates=config.candidates, token_bits=config.token_bits,
            max_stages=config.max_stages, memory_units=config.memory_units, lanes=config.lanes,
            slots=config.slots)
        m.submodules.access = access = Access(
            beat_bytes=config.stripe_bytes, memory_units=config.memory_units,
            space_words=space_words(config))
        m.submodules.spaces = spaces = construct(Spaces, config)

        # The streams of bytes end at buffers, which cut the paths to and from the link.
        m.submodules.bytes_buffer = bytes_buffer = Skid(8)
        m.submodules.reply_buffer = reply_buffer = Skid(8)
        wiring.connect(m, wiring.flipped(self.i), bytes_buffer.i)
        wiring.connect(m, bytes_buffer.o, parser.i)
        wiring.connect(m, reply_buffer.o, wiring.flipped(self.o))
        wiring.connect(m, parser.identify, identify.command)
        wiring.connect(m, parser.configure, configure.command)
        wiring.connect(m, parser.write, access.write)
        wiring.connect(m, parser.digest, access.digest)
        wiring.connect(m, parser.run, run.command)
        wiring.connect(m, parser.read, access.read)
        wiring.connect(m, parser.store, access.store)
        if config.memory_units:
            wiring.connect(m, parser.keep, access.keep)
            wiring.connect(m, parser.recall, access.recall)

        accelerator = wiring.flipped(self.accelerator)
        wiring.connect(m, run.accelerator, part(accelerator, construct(PassSignature, config)))
        wiring.connect(m, access.request, spaces.request)
        wiring.connect(m, spaces.word, access.word)
        wiring.connect(m, spaces.debug, accelerator.debug)
        wiring.connect(m, spaces.counters, wiring.flipped(self.counters))
        if config.memory_registers:
            wiring.connect(m, spaces.registers, wiring.flipped(self.registers))
        if config.flash_offset:
            m.d.comb += spaces.found.eq(self.found)
        m.d.comb += [
            self.failed.eq(run.failed),
            self.accelerator.clear_digest.eq(parser.identify.valid | run.clear_digest),
            run.configuration.eq(configure.configuration),
            spaces.beats.eq(self.accelerator.beats_taken),
        ]
        self._connect_player(m, parser, run, access)
        self._join_replies(m, parser, reply_buffer, (identify, configure, run, access))
        return m

    def _connect_player(self, m, parser, run, access):
        """Moves of the command that is carried out, and its data to whoever takes them."""
        player = self.player
        wiring.connect(m, wiring.flipped(player.digest), access.beats)
        # Whether a move may begin takes the player a cycle to find.
        m.submodules.moves = moves = Register(player.command.payload.shape())
        wiring.connect(m, moves.o, wiring.flipped(player.command))
        idle = player.idle & ~moves.o.valid
        m.d.comb += [
            moves.i.valid.eq(run.move.valid | access.move.valid),
            moves.i.payload.eq(Mux(parser.run.valid, run.move.payload, access.move.payload)),
            run.move.ready.eq(moves.i.ready),
            access.move.ready.eq(moves.i.ready),
            run.idle.eq(idle),
            access.idle.eq(idle),
            access.bytes.payload.eq(parser.o.payload),
            run.bytes.payload.eq(parser.o.payload),
            access.bytes.valid.eq(parser.o.valid),
            run.bytes.valid.eq(parser.o.valid),
        ]
        # Bytes of KEEP come in place of those of the link. What the player leaves goes nowhere.
        m.submodules.kept = kept = Skid(8)
        wiring.connect(m, access.kept, kept.i)
        keeps = access.keep.valid
        m.d.comb += [
            player.bytes.payload.eq(Mux(keeps, kept.o.payload, parser.o.payload)),
            player.bytes.valid.eq(Mux(keeps, kept.o.valid, parser.o.valid)),
            kept.o.ready.eq(player.bytes.ready | idle),
            parser.o.ready.eq(
                (player.bytes.ready & ~keeps) | access.bytes.ready | run.bytes.ready),
        ]
        # A flip-flop in a path that leads to every byte; beats are dropped a cycle later.
        m.d.sync += player.drop.eq(run.drop | access.drop)
        m.d.sync += [
            Assert(~run.move.valid | parser.run.valid, "a move of no RUN"),
            Assert(~run.move.valid | ~access.move.valid, "moves of two commands at once"),
            Assert(player.bytes.ready + access.bytes.ready + run.bytes.ready <= 1,
                   "a byte goes two ways"),
        ]

    def _join_replies(self, m, parser, reply, handlers):
        """Send what the command that is carried out has to say."""
        refused = Signal()
        # Who has nothing to say has a payload of 0.
        offers = [
            (parser.unknown & ~refused, Mux(parser.unknown, C(Code.UNKNOWN, 8), 0)),
            *((handler.reply.valid, handler.reply.payload) for handler in handlers),
        ]
        speaks = Cat(valid for valid, _ in offers)
        m.d.sync += Assert(speaks & (speaks - 1) == 0, "two replies at once")
        m.d.comb += [
            reply.i.valid.eq(speaks.any()),
            reply.i.payload.eq(functools.reduce(
                operator.or_, (payload for _, payload in offers))),
            *(handler.reply.ready.eq(reply.i.ready) for handler in handlers),
        ]
        with m.If(parser.unknown & reply.i.ready):
            m.d.sync += refused.eq(1)
