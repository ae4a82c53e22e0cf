"""CRC-32 of beats."""

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
        part = Signal(range(max(2, parts)))             # of a beat, which stands till its last one
        bits = self.i.p.data.as_value()
        m.d.sync += [crc.data.eq(bits.word_select(part, 8 * step)), crc.valid.eq(self.i.valid)]
        with m.If(self.i.valid):
            m.d.sync += part.eq(Mux(self.i.ready, 0, part + 1))
        m.d.comb += [
            crc.clear.eq(self.clear),
            self.crc.eq(crc.value[0]),
            self.busy.eq(crc.valid),
            self.i.ready.eq(part == parts - 1),
        ]
        return m
