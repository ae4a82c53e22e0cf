"""Element path: from row sums to the elements of a stage's output vector, one per cycle."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tritstream.formats import FORMATS
from tritstream_hw.elements.dequantise import Dequantise
from tritstream_hw.elements.layouts import ELEMENTS, RESULT, SCALE, SCALES, flow
from tritstream_hw.elements.mixer import Mixer
from tritstream_hw.elements.ports import (
    row_port,
    state_read_port,
    state_write_port,
    vector_write_port,
)
from tritstream_hw.elements.residual import Residual
from tritstream_hw.gemv.layouts import sum_layout

__all__ = ["ElementPath"]


class ElementPath(wiring.Component):
    """Dequantises, and then adds to the residual or mixes, as the command says.

    Throughput is one row sum per cycle. What is under way is never stalled; row sums wait only for
    their scales.

    Parameters
    ----------
    acc_bits : int
        Width of a row sum.
    max_state : int
        Elements of the recurrent state.
    vector_elements : int
        Elements of the vector memory.
    z_base : int
        Where z begins in it.

    Members
    -------
    command : :py:`In(stream.Signature(ELEMENTS))`
        What to do. Taken with the last element of the vector.
    sums, row : :py:`In(stream.Signature(sum_layout(acc_bits)))`
        Row sums, and elements of an embedding row; the command says which of them are taken.
    scales : :py:`In(stream.Signature(SCALES))`, row_scale : :py:`In(stream.Signature(SCALE))`
        What they are scaled by. Taken with the command.
    x, keep : :py:`In(ReadPort.Signature(...))`
        Residual and lower bound of a row, see `Residual` and `Mixer`.
    state_read : :py:`In(ReadPort.Signature(...))`, state_write : :py:`In(WritePort.Signature(...))`
        Recurrent state, see `Mixer`.
    write : :py:`In(WritePort.Signature(...))`
        Elements of the output vector, to x or z.
    o : :py:`Out(flow(RESULT))`
        The same elements.
    """

    def __init__(self, *, acc_bits: int, max_state: int, vector_elements: int, z_base: int):
        self._z_base = z_base
        super().__init__({
            "command":     In(stream.Signature(ELEMENTS)),
            "sums":        In(stream.Signature(sum_layout(acc_bits))),
            "scales":      In(stream.Signature(SCALES)),
            "row":         In(stream.Signature(sum_layout(acc_bits))),
            "row_scale":   In(stream.Signature(SCALE)),
            "x":           In(row_port(signed(FORMATS.vector_bits))),
            "keep":        In(row_port(unsigned(FORMATS.gain_bits))),
            "state_read":  In(state_read_port(max_state)),
            "state_write": In(state_write_port(max_state)),
            "write":       In(vector_write_port(vector_elements)),
            "o":           Out(flow(RESULT)),
        })
        self._dequantise = Dequantise(acc_bits=acc_bits)
        self._mixer = Mixer(max_state=max_state)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dequantise = dequantise = self._dequantise
        m.submodules.residual = residual = Residual()
        m.submodules.mixer = mixer = self._mixer
        command, mixes = self.command.p, self.command.p.mixes

        ends = Signal()
        m.d.comb += [
            dequantise.scales.eq(self.scales.payload),
            ends.eq(self.o.valid & self.o.p.last),
            self.command.ready.eq(ends),
        ]
        m.d.sync += Assert(self.command.valid | ~self.o.valid, "an element without a command")
        with m.If(command.embed):
            m.d.comb += dequantise.scales[0].eq(self.row_scale.payload)
            self._take(m, dequantise, self.row, self.row_scale, ends)
        with m.Else():
            self._take(m, dequantise, self.sums, self.scales, ends)

        connect(m, residual.x, flipped(self.x))
        connect(m, mixer.keep, flipped(self.keep))
        connect(m, mixer.state_read, flipped(self.state_read))
        connect(m, mixer.state_write, flipped(self.state_write))
        m.d.comb += [
            residual.i.p.eq(dequantise.o.p),
            residual.i.valid.eq(dequantise.o.valid & ~mixes),
            residual.embed.eq(command.embed),

            mixer.i.p.eq(dequantise.o.p),
            mixer.i.valid.eq(dequantise.o.valid & mixes),
            mixer.command.eq(command),

            self.o.p.eq(Mux(mixes, mixer.o.p, residual.o.p)),
            self.o.valid.eq(Mux(mixes, mixer.o.valid, residual.o.valid)),
            self.write.en.eq(self.o.valid),
            self.write.addr.eq(self.o.p.row + Mux(mixes, self._z_base, 0)),
            self.write.data.eq(self.o.p.value),
        ]
        return m

    def _take(self, m, dequantise, sums, scales, ends):
        """Take row sums of this stream while their scales are there."""
        m.d.comb += [
            dequantise.i.p.eq(sums.p),
            dequantise.i.valid.eq(sums.valid & sums.ready),
            sums.ready.eq(self.command.valid & scales.valid),
            scales.ready.eq(ends),
        ]
