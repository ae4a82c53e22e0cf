"""CRC-32 of beats."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.port import played_layout

__all__ = ["Checksum"]


class Checksum(wiring.Component):
    """CRC-32 (ISO-HDLC, as zlib's) of the bytes of beats, at most four per cycle.

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
        A beat is being worked on.
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
        steps = self._beat_bytes // step
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8 * step).create()
        rest = Signal(8 * self._beat_bytes)             # of a beat, not yet in the CRC
        left = Signal(range(max(2, steps) + 1))
        m.d.comb += [
            crc.start.eq(self.clear),
            crc.data.eq(rest),
            crc.valid.eq(self.busy),
            self.crc.eq(crc.crc),
            self.busy.eq(left != 0),
            self.i.ready.eq(left <= 1),
        ]
        with m.If(self.busy):
            m.d.sync += [rest.eq(rest >> 8 * step), left.eq(left - 1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [rest.eq(self.i.p.data), left.eq(steps)]
        return m
