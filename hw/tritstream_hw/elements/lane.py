"""Lane of the element path: a row's sums in, its element out."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.elements.dequantise import Dequantise
from tritstream_hw.elements.layouts import ELEMENTS, RESULT, SCALE
from tritstream_hw.elements.mixer import Mixer
from tritstream_hw.elements.residual import Residual
from tritstream_hw.elements.turn import turned
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.layouts import sum_shape

__all__ = ["ElementLane"]


class ElementLane(wiring.Component):
    """Dequantises, and then adds to the residual or mixes, as the command says.

    A plain pipeline, that takes something in every cycle and does not know whether it is a row.
    What the memories have of it is needed and made so many cycles after its sums as the properties
    say. One of a row per cycle, or of a row in four cycles: then there is one dequantiser, and the
    projections of a row come one after the other.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    element_cycles : int
        Cycles from a row to the next: 1 or 4.

    Members
    -------
    command : :py:`In(ELEMENTS)`
        What to do. Must not change while rows are under way.
    turn : :py:`In(range(element_cycles))`
        Counts the cycles; 0 in the first of a row.
    scales : :py:`In(data.ArrayLayout(SCALE, n))`
        Of the row, each as `Dequantise` takes it; by projection, or only that whose turn it is.
    sums : :py:`In(data.ArrayLayout(sum_shape(acc_bits), n))`
        Row sums, likewise.
    x : :py:`In(signed(32))`, keep : :py:`In(16)`
        Residual of the row, and one minus its lower bound.
    h : :py:`In(signed(24))`, fresh : :py:`In(1)`, follows : :py:`In(1)`
        State of the row, as `Mixer` takes it.
    state : :py:`Out(signed(24))`
        Its new state.
    o : :py:`Out(RESULT)`
        Element of the output vector.
    """

    def __init__(self, *, acc_bits: int, element_cycles: int = 1):
        dequantisers = VECTORS if element_cycles == 1 else 1
        super().__init__({
            "command": In(ELEMENTS),
            "turn":    In(range(element_cycles)),
            "scales":  In(data.ArrayLayout(SCALE, dequantisers)),
            "sums":    In(data.ArrayLayout(sum_shape(acc_bits), dequantisers)),
            "x":       In(signed(FORMATS.vector_bits)),
            "keep":    In(FORMATS.gain_bits),
            "h":       In(signed(FORMATS.state_bits)),
            "fresh":   In(1),
            "follows": In(1),
            "state":   Out(signed(FORMATS.state_bits)),
            "o":       Out(RESULT),
        })
        self._dequantise = [Dequantise(acc_bits=acc_bits) for _ in range(dequantisers)]
        self._residual, self._mixer = Residual(), Mixer(element_cycles=element_cycles)

    @property
    def _dequantised(self) -> int:
        return self._dequantise[0].latency

    @property
    def shift_delay(self) -> int:
        """Cycles until the shift of the scales is needed."""
        return self._dequantise[0].shift_delay

    @property
    def chain_cycles(self) -> int:
        """Cycles from a row to one that goes on from its new state."""
        return self._mixer.chain_cycles

    @property
    def row_delay(self) -> int:
        """Cycles until residual and lower bound are needed."""
        return self._dequantised + 1

    @property
    def h_delay(self) -> int:
        """Cycles until the state is needed."""
        return self._dequantised + self._mixer.h_delay

    @property
    def state_latency(self) -> int:
        """Cycles to the new state."""
        return self._dequantised + self._mixer.state_latency

    @property
    def residual_latency(self) -> int:
        """Cycles to an element that is not mixed."""
        return self._dequantised + self._residual.latency

    @property
    def glu_latency(self) -> int:
        """Cycles to an element of a gated channel mixer."""
        return self._dequantised + self._mixer.glu_latency

    @property
    def mlgru_latency(self) -> int:
        """Cycles to an element of an MLGRU."""
        return self._dequantised + self._mixer.mlgru_latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.residual, m.submodules.mixer = residual, mixer = self._residual, self._mixer
        for n, dequantise in enumerate(self._dequantise):
            m.submodules[f"dequantise{n}"] = dequantise
            m.d.comb += [
                dequantise.acc.eq(self.sums[n]),
                dequantise.scale.eq(self.scales[n]),
            ]
        m.d.comb += [
            mixer.turn.eq(turned(self.turn, self._dequantised)),
            *(element.eq(self._dequantise[n % len(self._dequantise)].o)
              for n, element in enumerate(mixer.elements)),
            residual.i.eq(self._dequantise[0].o),
            residual.embed.eq(self.command.embed),
            residual.x.eq(self.x),
            mixer.command.eq(self.command),
            mixer.keep.eq(self.keep),
            mixer.h.eq(self.h),
            mixer.fresh.eq(self.fresh),
            mixer.follows.eq(self.follows),
            self.state.eq(mixer.state),
            self.o.eq(mixer.o),
        ]
        with m.If(~self.command.mixes):
            m.d.comb += [self.o.value.eq(residual.o), self.o.first.eq(residual.o)]
        return m
