"""The mixer's queues never overflow nor run dry, proved without a bound on time."""

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tritstream.build import BuildConfig
from tritstream_hw.construct import construct
from tritstream_hw.elements.mixer import Mixer
from tritstream_sim.agents.contract import prove

BLOCK = 5       # rows


class MixerContract(wiring.Component):
    """A mixer in one mode, whose input keeps each projection at most a block ahead of the next."""

    valid: In(1)
    projection: In(2)

    def __init__(self, *, glu: int):
        self.glu = glu
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.mixer = mixer = construct(Mixer, BuildConfig())
        m.d.comb += [
            mixer.command.glu.eq(self.glu),
            mixer.i.valid.eq(self.valid),
            mixer.i.p.projection.eq(self.projection),
        ]

        projections = 2 if self.glu else 3
        ahead = [Signal(range(BLOCK + 1), name=f"ahead_{n}") for n in range(projections - 1)]
        with m.If(self.valid):
            m.d.comb += Assume(self.projection < projections)
        for n, count in enumerate(ahead):
            grows = self.valid & (self.projection == n)
            shrinks = self.valid & (self.projection == n + 1)
            m.d.sync += count.eq(count + grows - shrinks)
            m.d.comb += [Assume(~grows | (count < BLOCK)), Assume(~shrinks | (count > 0)),
                         Assert(count <= BLOCK)]

        gate = mixer.gate
        for queue in (mixer.states, mixer.candidates, gate.silus, gate.factors):
            m.d.comb += [Assert(~queue.w_en | queue.w_rdy), Assert(~queue.r_en | queue.r_rdy)]
        self.invariants(m, mixer, ahead)
        return m

    def invariants(self, m, mixer, ahead):
        """Add what induction needs to know: how many may be in which part of a pipeline."""
        def counts(stages, name):
            """Numbers of those that came in the latest 0, 1, 2 … cycles."""
            total = [Signal(6, name=f"{name}_{n}") for n in range(len(stages) + 1)]
            m.d.comb += [after.eq(before + stage)
                         for before, after, stage in zip(total, total[1:], stages, strict=False)]
            return total

        gate = mixer.gate
        tail = Cat(gate.x.valid, gate.under_way)
        if self.glu:
            x = counts(Cat(mixer.is_a, tail), "a")
            m.d.comb += [Assert(2 * count <= cycles + ahead[0])
                         for cycles, count in enumerate(x)]
            m.d.comb += Assert(Cat(mixer.is_i, mixer.i_under_way, mixer.is_f, mixer.f_under_way,
                                   mixer.h_under_way, mixer.states.level,
                                   mixer.candidates.level) == 0)
        else:
            first, second = (Cat(mixer.is_i, mixer.i_under_way), Cat(mixer.is_f, mixer.f_under_way))
            i, x = counts(first, "i"), counts(Cat(second, mixer.h_under_way, tail), "f")
            m.d.comb += [Assert(3 * count + ahead[0] <= cycles + BLOCK + ahead[1])
                         for cycles, count in enumerate(x)]
            m.d.comb += [Assert(before <= count + ahead[0])
                         for before, count in zip(i, x, strict=False)]
            f = x[len(second)]
            m.d.comb += [
                Assert(first & second == 0),
                Assert(~mixer.is_a),
                Assert(mixer.states.level == f - x[3]),
                Assert(i[-1] + mixer.candidates.level == f + ahead[0]),
            ]
        m.d.comb += [
            Assert(x[-1] + gate.silus.level == mixer.is_y + gate.factors.level + ahead[-1]),
            Assert((gate.silus.level <= 1) | (gate.factors.level <= 1)),
        ]


@pytest.mark.parametrize("glu", [0, 1])
def test_queues(tmp_path, glu):
    """No queue of the mixer overflows or runs dry, whatever the pauses."""
    prove(MixerContract(glu=glu), tmp_path, depth=1)
