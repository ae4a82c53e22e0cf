"""Reads whole regions of a memory, ahead of their being used."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import MOST_BEATS, beat_layout

__all__ = ["Fetcher", "region_layout"]


def region_layout(memory_beats: int) -> data.StructLayout:
    """Layout of consecutive beats: the address of the first, and how many; there may be none."""
    return data.StructLayout({"beat": range(memory_beats), "beats": range(memory_beats + 1)})


class Fetcher(wiring.Component):
    """Reads regions of the memory, in requests of at most `MOST_BEATS` beats.

    The next request goes out while the beats of the one before still come, so that a memory whose
    latency is less than `MOST_BEATS` beats never runs dry.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    memory_beats : int
        Size of the memory; no region goes beyond it.

    Members
    -------
    region : :py:`In(stream.Signature(region_layout(memory_beats)))`
        What to read; taken when all of the region before has been requested.
    request : :py:`Out(stream.Signature(region_layout(memory_beats)))`
        To the memory.
    data : :py:`In(stream.Signature(beat_layout(P)))`
        From the memory.
    o : :py:`Out(stream.Signature(beat_layout(P)))`
        Beats of all regions, passed on in the cycle in which they come.
    last : :py:`Out(1)`
        The beat on `o` is the last of all that has been asked for.
    idle : :py:`Out(1)`
        Every beat of every region has been taken, and that since a cycle ago.
    abandon : :py:`In(1)`
        Strobe: forget the regions. Beats already requested are dropped when they come, and no
        region is taken before.
    """

    def __init__(self, *, beat_bytes: int, memory_beats: int):
        region = stream.Signature(region_layout(memory_beats))
        beats = stream.Signature(beat_layout(beat_bytes))
        super().__init__({
            "region": In(region),
            "request": Out(region),
            "data": In(beats),
            "o": Out(beats),
            "last": Out(1),
            "idle": Out(1, init=1),
            "abandon": In(1),
        })
        # Attributes, so that a proof can hold them to what they owe each other.
        self.beat, self.left = (                                # not requested yet
            Signal.like(self.region.p.beat), Signal.like(self.region.p.beats))
        self.under_way = Signal(range(2 * MOST_BEATS + 1))      # beats asked for that have not come
        self.dropping = Signal()
        # These belong to `left` as it was a cycle ago, and has been since.
        self.more, self.asked = Signal(), Signal(init=1)
        self.count = Signal(range(MOST_BEATS + 1))

    def elaborate(self, platform):
        m = Module()
        request = self.request
        beat, left, under_way, dropping = self.beat, self.left, self.under_way, self.dropping
        more, asked, count = self.more, self.asked, self.count
        asks, comes = Signal(), Signal()
        loads = self.region.valid & self.region.ready
        m.d.sync += [
            more.eq((left != 0) & ~asks & ~loads & ~self.abandon),
            asked.eq((left == 0) & ~loads),
            count.eq(Mux(left < MOST_BEATS, left, MOST_BEATS)),
        ]
        m.d.comb += [
            asks.eq(~request.valid & more & (under_way <= MOST_BEATS)),
            self.region.ready.eq(asked & ~dropping & ~self.abandon),
            self.o.payload.eq(self.data.payload),
            self.o.valid.eq(self.data.valid & ~dropping),
            self.data.ready.eq(self.o.ready | dropping),
            comes.eq(self.data.valid & self.data.ready),
            self.last.eq(asked & (under_way == 1)),
        ]
        m.d.sync += self.idle.eq(asked & (under_way == 0) & ~loads)
        m.d.sync += under_way.eq(under_way + Mux(asks, count, 0) - comes)
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
