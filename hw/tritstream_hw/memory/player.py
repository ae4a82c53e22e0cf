"""Where the beats of a pass come from: the memory, or the host by way of the link."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream_hw.memory.port import REGION, beat_layout

__all__ = ["PASS", "LinkSource", "MemorySource", "PassSource", "unit_shift"]

CHUNK = 256
"""Beats per read request: long enough for a DRAM, short enough to be drained after a RESET."""

PASS = data.StructLayout({
    "streamed": 1,
    "tape": 32,
    "lead_units": 16,
    "row": 32,
    "row_units": 16,
    "tape_units": 32,
})
"""A pass in units: the lead of the tape, an embedding row, the rest of the tape."""


def unit_shift(config: BuildConfig) -> int:
    """Binary logarithm of the beats per unit."""
    return (UNIT // config.beat_bytes).bit_length() - 1


class LinkSource(wiring.Component):
    """Assembles bytes into beats, one byte per cycle; a beat is there a cycle after its last byte.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes of the command stream.
    o : :py:`Out(stream.Signature(beat_layout(config)))`
        Beats.
    """

    def __init__(self, config: BuildConfig):
        self._bytes = config.beat_bytes
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(beat_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(max(2, self._bytes)))
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.o.payload.eq(
                Cat(self.o.payload.as_value(), self.i.payload)[8:])
            m.d.sync += count.eq(count + 1)
            with m.If(count == self._bytes - 1):
                m.d.sync += count.eq(0)
                m.d.sync += self.o.valid.eq(1)
        return m


class MemorySource(wiring.Component):
    """Reads regions of the memory, in requests of at most `CHUNK` beats.

    The next request goes out while the beats of the one before still come, so that a memory whose
    latency is less than `CHUNK` beats never runs dry.

    Members
    -------
    region : :py:`In(stream.Signature(REGION))`
        What to read; taken when all of the region before has been requested. May be empty.
    o : :py:`Out(stream.Signature(beat_layout(config)))`
        Beats of all regions, passed on in the cycle in which they come.
    read_request, read_data
        See :class:`MemorySignature`.
    abandon : :py:`In(1)`
        Strobe: forget the regions. Beats already requested are dropped when they come, and no
        region is taken before.
    """

    def __init__(self, config: BuildConfig):
        super().__init__({
            "region": In(stream.Signature(REGION)),
            "o": Out(stream.Signature(beat_layout(config))),
            "read_request": Out(stream.Signature(REGION)),
            "read_data": In(stream.Signature(beat_layout(config))),
            "abandon": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        request = self.read_request
        beat, left = Signal(32), Signal(32)
        under_way = Signal(range(2 * CHUNK + 1))
        dropping = Signal()

        # All three belong to `left` as it was a cycle ago, and has been since.
        asks, count, comes = Signal(), Signal(range(CHUNK + 1)), Signal()
        more, idle = Signal(), Signal()
        loads = self.region.valid & self.region.ready
        m.d.sync += [
            more.eq((left != 0) & ~asks & ~loads & ~self.abandon),
            idle.eq((left == 0) & ~loads),
            count.eq(Mux(left < CHUNK, left, CHUNK)),
        ]
        m.d.comb += [
            asks.eq(~request.valid & more & (under_way <= CHUNK)),
            self.region.ready.eq(idle & ~dropping),
            self.o.payload.eq(self.read_data.payload),
            self.o.valid.eq(self.read_data.valid & ~dropping),
            self.read_data.ready.eq(self.o.ready | dropping),
        ]
        # Counted a cycle late, for it comes at the end of a long path.
        m.d.sync += [
            comes.eq(self.read_data.valid & self.read_data.ready),
            under_way.eq(under_way + Mux(asks, count, 0) - comes),
        ]
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(asks):
            m.d.sync += [
                request.valid.eq(1),
                request.p.beat.eq(beat),
                request.p.beats.eq(count),
                beat.eq(beat + count),
                left.eq(left - count),
            ]
        with m.If(loads):
            m.d.sync += [beat.eq(self.region.p.beat), left.eq(self.region.p.beats)]

        with m.If(under_way == 0):
            m.d.sync += dropping.eq(0)
        with m.If(self.abandon):
            m.d.sync += [dropping.eq(1), left.eq(0)]
        return m


class PassSource(wiring.Component):
    """Plays all beats of a pass, from either source.

    Parameters
    ----------
    config : :class:`BuildConfig`
        For the beats per unit.

    Members
    -------
    play : :py:`In(stream.Signature(PASS))`
        The pass. Taken when its last beat has gone.
    drop : :py:`In(1)`
        Beats are consumed, but no longer offered.
    region : :py:`Out(stream.Signature(REGION))`
        To the :class:`MemorySource`.
    memory, link : :py:`In(stream.Signature(beat_layout(config)))`
        The sources.
    o : :py:`Out(stream.Signature(beat_layout(config)))`
        Beats, passed on in the cycle in which they come.
    """

    def __init__(self, config: BuildConfig):
        self._shift = unit_shift(config)
        super().__init__({
            "play": In(stream.Signature(PASS)),
            "drop": In(1),
            "region": Out(stream.Signature(REGION)),
            "memory": In(stream.Signature(beat_layout(config))),
            "link": In(stream.Signature(beat_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        play, region = self.play.p, self.region
        left, moves = Signal(33 + self._shift), Signal()

        def ask(unit, units):
            m.d.comb += [
                region.valid.eq(1),
                region.p.beat.eq(unit << self._shift),
                region.p.beats.eq(units << self._shift),
            ]

        valid, open_ = Signal(), Signal()    # some source has a beat; the pass still has beats
        m.d.comb += [
            valid.eq(open_ & Mux(play.streamed, self.link.valid, self.memory.valid)),
            # From memory, nothing comes by the link. `streamed` has enough to drive as it is.
            self.o.payload.eq(Mux(self.link.valid, self.link.payload, self.memory.payload)),
            self.o.valid.eq(valid & ~self.drop),
            moves.eq(valid & (self.o.ready | self.drop)),
            self.link.ready.eq(moves & play.streamed),
            self.memory.ready.eq(moves & ~play.streamed),
        ]
        with m.If(moves):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += open_.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.play.valid):
                    m.d.sync += left.eq((play.tape_units + play.row_units) << self._shift)
                    m.next = "OPEN"
            with m.State("OPEN"):
                m.d.sync += open_.eq(left != 0)
                m.next = "LEAD"
                with m.If(play.streamed):
                    m.next = "WAIT"
            with m.State("LEAD"):
                ask(play.tape, play.lead_units)
                with m.If(region.ready):
                    m.next = "ROW"
            with m.State("ROW"):
                ask(play.row, play.row_units)
                with m.If(region.ready):
                    m.next = "REST"
            with m.State("REST"):
                ask(play.tape + play.lead_units, play.tape_units - play.lead_units)
                with m.If(region.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~open_):
                    m.d.comb += self.play.ready.eq(1)
                    m.next = "IDLE"
        return m
