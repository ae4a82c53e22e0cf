"""Prefetch: beats that have been read wait for their use, so that a memory need not pause."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import played_layout

__all__ = ["Prefetch"]


class Prefetch(wiring.Component):
    """Queue between the player and the accelerator.

    Between two stages, and while a vector is quantised, the accelerator takes no beats. A memory
    that is slower than the core has no such time to lose: what it delivers meanwhile waits here,
    and is then taken as fast as the core can. Throughput is one beat per cycle, latency two cycles.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    beats : int
        Places, in block RAM; enough if the memory delivers no more in the accelerator's longest
        pause.

    Members
    -------
    i, o : :py:`In(stream.Signature(played_layout(P)))`, :py:`Out(...)`
        Beats of passes.
    """

    def __init__(self, *, beat_bytes: int, beats: int):
        self._beats = beats
        beat = stream.Signature(played_layout(beat_bytes))
        super().__init__({"i": In(beat), "o": Out(beat)})

    def elaborate(self, platform):
        m = Module()
        layout = self.i.payload.shape()
        m.submodules.queue = queue = SyncFIFOBuffered(width=layout.size, depth=self._beats)
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.o.payload.eq(data.View(layout, queue.r_data)),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m
