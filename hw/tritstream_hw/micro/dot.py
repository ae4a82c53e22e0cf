"""Row sums of five rows at a time: the only loop of the micro machine that is gates."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS
from tritstream_hw.gemv.trit import TritDecoder

__all__ = ["SUM_BITS", "Dot"]

SUM_BITS = 16
"""Of a row sum: 258 activations of 127 fit."""


class Dot(wiring.Component):
    """Adds an activation to five sums, each times its trit of a byte of the tape.

    Members
    -------
    clear : :py:`In(1)`
        The sums become 0.
    valid : :py:`In(1)`
        A code and an activation are there.
    code : :py:`In(8)`
        Five trits, as on the tape.
    activation : :py:`In(signed(8))`
        -127 to 127.
    sums : :py:`Out(data.ArrayLayout(signed(16), 5))`
        Of all codes until the cycle before.
    """

    clear: In(1)
    valid: In(1)
    code: In(8)
    activation: In(signed(FORMATS.act_bits))
    sums: Out(data.ArrayLayout(signed(SUM_BITS), FORMATS.trits_per_byte))

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = TritDecoder()
        m.d.comb += decoder.code.eq(self.code)
        for trit, total in zip(decoder.trits, self.sums, strict=True):
            # A carry adds the 1 that completes the two's complement.
            bits = self.activation.as_unsigned() ^ trit.neg.replicate(FORMATS.act_bits)
            gate = Mux(trit.nonzero, bits, 0)
            with m.If(self.valid):
                m.d.sync += total.eq(total + gate.as_signed() + trit.neg)
            with m.If(self.clear):
                m.d.sync += total.eq(0)
        return m
