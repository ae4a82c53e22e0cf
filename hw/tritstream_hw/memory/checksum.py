"""CRC-32 of beats."""

import functools
import operator

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.memory.port import played_layout

__all__ = ["Checksum"]


class Checksum(wiring.Component):
    """CRC-32 of the bytes of beats, at most four per cycle.

    Parameters
    ----------
    beat_bytes : int
        `P`.

    Members
    -------
    clear : :py:`In(1)`
        Strobe: begin anew.
    i : :py:`In(stream.Signature(played_layout(P)))`
        The beats.
    crc : :py:`Out(32)`
        Of all beats taken since `clear`, while not `busy`.
    busy : :py:`Out(1)`
        The last part of a beat has been taken, but is not in the CRC yet.
    """

    def __init__(self, *, beat_bytes: int):
        self._beat_bytes = beat_bytes
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(played_layout(beat_bytes))),
            "crc": Out(32),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        step = min(4, self._beat_bytes)
        parts = self._beat_bytes // step
        m.submodules.crc = crc = Crc32(data_bits=8 * step)
        at = Signal(parts, init=1)                      # which part of a beat, till its last one
        bits = self.i.p.data.as_value()
        with m.If(self.i.valid):
            m.d.sync += at.eq(Mux(self.i.ready, 1, at << 1))
        # Added up in two halves, for the LUTs that add the CRC have an input to spare.
        halves = [Signal(8 * step, name=f"half_{n}") for n in range(min(2, parts))]
        for n, half in enumerate(halves):
            m.d.sync += half.eq(functools.reduce(operator.or_, (
                bits.word_select(part, 8 * step) & at[part].replicate(8 * step)
                for part in range(n, parts, 2))))
        m.d.sync += crc.valid.eq(self.i.valid)
        m.d.comb += [
            crc.data.eq(functools.reduce(operator.or_, halves)),
            crc.clear.eq(self.clear),
            self.crc.eq(crc.value[0]),
            self.busy.eq(crc.valid),
            self.i.ready.eq(at[-1]),
        ]
        return m
