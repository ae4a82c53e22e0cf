"""Decoder of a tape byte: five trits from eight bits."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritstream.formats import FORMATS

__all__ = ["TRIT", "TritDecoder"]

TRIT = data.StructLayout({"neg": 1, "nonzero": 1})
"""A trit: `neg` is only set in -1."""

_ORDER = (0, 1, -1)
_PAIRS = [(first, second) for first in _ORDER for second in _ORDER]


def _bits(trit: int) -> dict[str, bool]:
    return {"neg": trit < 0, "nonzero": trit != 0}


class TritDecoder(wiring.Component):
    """Five trits from a byte of the tape.

    Combinational: 16 to 18 four-input lookup tables, at most four of them in series. The meaning of
    the 13 codes that no tape holds is not specified.

    Members
    -------
    code : :py:`In(8)`
        A byte as `tritstream.image.trits.encode` makes it.
    trits : :py:`Out(data.ArrayLayout(TRIT, 5))`
        Weights of five consecutive rows in one column.
    """

    code: In(8)
    trits: Out(data.ArrayLayout(TRIT, FORMATS.trits_per_byte))

    def elaborate(self, platform):
        m = Module()
        p, q, r = self.code[0:3], self.code[3:6], self.code[6:8]

        escape, p_ninth, q_ninth = Signal(), Signal(), Signal()
        q_index, single = Signal(3), Signal(2)
        m.d.comb += [
            escape.eq(r == 3),
            p_ninth.eq(escape & q[2]),
            q_ninth.eq(escape & (~q[2] | p[:2].all())),
            q_index.eq(Cat(q[:2], Mux(p_ninth, p[2], q[2]))),
            single.eq(Mux(escape, Mux(q_ninth, q[:2], p[:2]), r)),
            self.trits[4].neg.eq(single[1]),
            self.trits[4].nonzero.eq(single.any()),
        ]

        # Every output bit of a pair is a function of four bits: one lookup table.
        for first, index, ninth in ((0, p, p_ninth), (2, q_index, q_ninth)):
            for member in (0, 1):
                for field in ("neg", "nonzero"):
                    column = [_bits(pair[member])[field] for pair in _PAIRS]
                    table = Const(sum(bit << n for n, bit in enumerate(column[:8])), 8)
                    m.d.comb += self.trits[first + member][field].eq(
                        Mux(ninth, column[8], table.bit_select(index, 1)))
        return m
