"""Judge of headers: whether a section can be computed to its end, and how long its parts are."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.formats import FORMATS, MOST_ROWS, UNIT
from tritstream.image.tape import MAGIC, Bank, Op
from tritstream.stripes import Stripes
from tritstream_hw.arithmetic.bounds import at_most, beyond
from tritstream_hw.arithmetic.times import times
from tritstream_hw.tape.layouts import HEADER_LAYOUT, padded_beats

__all__ = ["HeaderJudge"]


class HeaderJudge(wiring.Component):
    """Checks a header against the build and its fields against each other.

    A header must have the magic number, a known operation and known banks; rows, columns and state
    must be there and fit; `blocks` and `units` must be what rows, columns and banks make of them.
    What passes cannot hang the datapath. One addition or comparison is done per cycle and field.

    Parameters
    ----------
    stripes : Stripes
        By which the lengths are counted.
    max_hidden, max_intermediate, max_columns, max_vocab, max_state : int
        What a header is held against.

    Members
    -------
    header : :py:`In(HEADER_LAYOUT)`
        Stable from some cycle on.
    fits : :py:`Out(1)`
        All but `units` is right; from the second cycle on, the first being that in which the header
        is there.
    bank_units, body_units : :py:`Out(15)`, :py:`Out(...)` for the longest body
        Length of the gain banks and of the trits; from the third cycle on.
    consistent : :py:`Out(1)`
        `units` is right; from the fifth cycle on.
    """

    def __init__(self, *, stripes: Stripes, max_hidden: int, max_intermediate: int,
                 max_columns: int, max_vocab: int, max_state: int):
        self._stripes = stripes
        self._max_hidden, self._max_intermediate = max_hidden, max_intermediate
        self._max_columns, self._max_vocab = max_columns, max_vocab
        self._max_state = max_state
        self._group_units = range(
            3 * stripes.group_stripes(max_columns) // stripes.unit_stripes + 1)
        super().__init__({
            "header":     In(HEADER_LAYOUT),
            "fits":       Out(1),
            "bank_units": Out(15),
            "body_units": Out(range((MOST_ROWS + 1) * self._group_units.stop)),
            "consistent": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        header, stripes = self.header, self._stripes
        block_rows = FORMATS.trits_per_byte * stripes.groups

        # First.
        conditions = Cat(self._conditions())
        limits = Signal(len(conditions))
        excess = Signal(signed(17 + block_rows.bit_length()))   # rows that fill up the last block
        units_of_bank = Signal(12)
        banks = Signal(range(len(Bank) + 1))
        units_of_group = Signal(self._group_units)
        columns = (padded_beats(header.columns, FORMATS.act_bits, stripes.beat_bytes)
                   >> exact_log2(stripes.unit_stripes))
        m.d.sync += [
            limits.eq(conditions),
            excess.eq(times(header.blocks, block_rows) - header.rows),
            units_of_bank.eq(padded_beats(header.rows, FORMATS.gain_bits,
                                          max(UNIT, stripes.flat_bytes))),
            banks.eq(sum(header.banks[:len(Bank)])),
            units_of_group.eq(columns),
        ]
        with m.Switch(header.op):
            with m.Case(Op.EMBED):
                m.d.sync += units_of_group.eq(0)
            with m.Case(Op.GLU):
                m.d.sync += units_of_group.eq(columns << 1)
            with m.Case(Op.MLGRU):
                m.d.sync += units_of_group.eq((columns << 1) + columns)

        # Second. Additions in place of a multiplication by so few bits.
        m.d.comb += self.fits.eq(limits.all() & at_most(excess.as_unsigned(), block_rows - 1))
        m.d.sync += [
            self.bank_units.eq(sum(Mux(bit, units_of_bank << n, 0) for n, bit in enumerate(banks))),
            self.body_units.eq(header.blocks * units_of_group),
        ]

        # Third and fourth.
        left = Signal(32)
        m.d.sync += [
            left.eq(header.units - 1 - self.bank_units),
            self.consistent.eq(left == self.body_units),
        ]
        return m

    def _conditions(self):
        header = self.header
        most_rows = Mux(header.op == Op.HEAD, self._max_vocab,
                        Mux(header.op == Op.GLU, self._max_intermediate, self._max_hidden))
        most_columns = Mux(header.op == Op.RESIDUAL, self._max_columns, self._max_hidden)
        return [
            header.magic == MAGIC,
            header.op <= max(Op),
            header.banks[len(Bank):] == 0,
            header.rows != 0,
            header.rows <= most_rows,
            (header.columns != 0) | (header.op == Op.EMBED),
            header.columns <= most_columns,
            (header.op != Op.MLGRU) | ~beyond(header.state_base, header.rows, C(self._max_state)),
        ]
