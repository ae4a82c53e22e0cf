"""Element path: from row sums to the elements of a stage's output vector, one per cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.image.tape import Op
from tritstream_hw.elements.dequantise import Dequantise
from tritstream_hw.elements.layouts import RESULT, SCALE, flow, sum_layout
from tritstream_hw.elements.mixer import Mixer
from tritstream_hw.elements.residual import Residual
from tritstream_hw.tape.layouts import HEADER_LAYOUT

__all__ = ["ElementPath"]


class ElementPath(wiring.Component):
    """Dequantises, and then adds to the residual or mixes, as the stage says.

    Throughput is one row sum per cycle; nothing stalls.

    Members
    -------
    i : :py:`In(flow(sum_layout(config)))`
        Row sums, or elements of an embedding row.
    stage : :py:`In(HEADER_LAYOUT)`, fresh : :py:`In(1)`, scales : :py:`In(ArrayLayout(SCALE, 3))`
        What to do; must not change while elements are under way.
    x_row, x, keep_row, keep, state_…
        Read and write ports of the memories, see `Residual` and `Mixer`.
    o : :py:`Out(flow(RESULT))`
        Elements of the output vector.
    """

    def __init__(self, config: BuildConfig):
        state, address = signed(FORMATS.state_bits), range(config.max_state)
        super().__init__({
            "i":        In(flow(sum_layout(config))),
            "stage":    In(HEADER_LAYOUT),
            "fresh":    In(1),
            "scales":   In(data.ArrayLayout(SCALE, 3)),
            "x_row":    Out(16),
            "x":        In(signed(FORMATS.vector_bits)),
            "keep_row": Out(16),
            "keep":     In(FORMATS.gain_bits),
            "state_read_address":  Out(address),
            "state_read_data":     In(state),
            "state_write_en":      Out(1),
            "state_write_address": Out(address),
            "state_write_data":    Out(state),
            "o":        Out(flow(RESULT)),
        })
        self._dequantise = Dequantise(config)
        self._residual = Residual()
        self._mixer = Mixer(config)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dequantise = dequantise = self._dequantise
        m.submodules.residual = residual = self._residual
        m.submodules.mixer = mixer = self._mixer

        mixes = Signal()        # a cycle late, long before the first element
        m.d.sync += mixes.eq((self.stage.op == Op.MLGRU) | (self.stage.op == Op.GLU))
        m.d.comb += [
            dequantise.i.p.eq(self.i.p),
            dequantise.i.valid.eq(self.i.valid),
            dequantise.scales.eq(self.scales),

            residual.i.p.eq(dequantise.o.p),
            residual.i.valid.eq(dequantise.o.valid & ~mixes),
            residual.embed.eq(self.stage.op == Op.EMBED),
            self.x_row.eq(residual.x_row),
            residual.x.eq(self.x),

            mixer.i.p.eq(dequantise.o.p),
            mixer.i.valid.eq(dequantise.o.valid & mixes),
            mixer.glu.eq(self.stage.op == Op.GLU),
            mixer.fraction0.eq(self.stage.fraction0),
            mixer.fraction1.eq(self.stage.fraction1),
            mixer.state_base.eq(self.stage.state_base),
            mixer.fresh.eq(self.fresh),
            self.keep_row.eq(mixer.keep_row),
            mixer.keep.eq(self.keep),
            self.state_read_address.eq(mixer.state_read_address),
            mixer.state_read_data.eq(self.state_read_data),
            self.state_write_en.eq(mixer.state_write_en),
            self.state_write_address.eq(mixer.state_write_address),
            self.state_write_data.eq(mixer.state_write_data),

            self.o.p.eq(Mux(mixes, mixer.o.p, residual.o.p)),
            self.o.valid.eq(Mux(mixes, mixer.o.valid, residual.o.valid)),
        ]
        return m
