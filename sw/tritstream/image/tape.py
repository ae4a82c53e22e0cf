"""The tape: everything one token pass consumes, in the order in which the hardware consumes it.

A tape is a sequence of *sections*, one per stage. Each is a header, the gain banks that
the statistics of this stage's output need, and a body: the packed trits of a ternary matrix or,
for the embedding stage, the embedding row that the source splices in. All parts are padded to
multiples of `ALIGNMENT`; for beats wider than that, and for several memories, see
`tritstream.image.layout`.

A model of L layers has 4 L + 2 stages: EMBED, then for each layer MLGRU (i, f and g projections
and the recurrence), RESIDUAL (o projection), GLU (gate and up projections) and RESIDUAL (down
projection), then HEAD.
"""

import dataclasses
import enum
import struct

from tritstream.errors import BadInput
from tritstream.formats import HEADER_BYTES, UNIT, padded

__all__ = [
    "HEADER_FIELDS",
    "MAGIC",
    "MAX_FRACTION",
    "ROW_PREFIX",
    "WIDE_BYTES",
    "Bank",
    "Header",
    "Op",
    "Scalar",
    "blocks",
    "row_bytes",
    "units_of",
]

MAGIC = 0x54

MAX_FRACTION = 20
"""Most fraction bits of an element; the sigmoid's argument shift covers 0 to this."""

ROW_PREFIX = 4
"""Bytes in front of an embedding row's elements: mantissa u16, shift u8, and 0 if the elements are
int8, 1 if they are 24 bits wide."""

WIDE_BYTES = 3
"""Bytes of a wide element."""


def row_bytes(hidden: int, *, wide: bool = False) -> int:
    """Return the bytes of an embedding row of so many elements, its padding apart."""
    return ROW_PREFIX + hidden * (WIDE_BYTES if wide else 1)



class Op(enum.IntEnum):
    """What a stage does with the sums of its GEMV."""

    EMBED = 0       # x = row
    MLGRU = 1       # z = g * silu(h), h the new recurrent state
    RESIDUAL = 2    # x = x + out
    GLU = 3         # z = silu(a) * b
    HEAD = 4        # candidates

    @property
    def projections(self) -> int:
        """Matrices whose rows are interleaved in the body."""
        return {Op.MLGRU: 3, Op.GLU: 2}.get(self, 1)

    @property
    def vectors(self) -> int:
        """Quantised input vectors: i, f and g have a norm gain, hence an int8 vector, each."""
        return {Op.EMBED: 0, Op.MLGRU: 3}.get(self, 1)

    @property
    def reads_z(self) -> bool:
        """Whether the input is z rather than the residual x."""
        return self is Op.RESIDUAL

    @property
    def writes_z(self) -> bool:
        """Whether the output is z rather than the residual x."""
        return self in (Op.MLGRU, Op.GLU)


class Bank(enum.IntFlag):
    """Gain banks in their order on the tape; one 16-bit number per output element."""

    KEEP = 1        # one minus the lower bound of the forget gate, fraction of 2**16, unsigned
    PRE = 2         # gain of the first of two stacked norms
    GAIN0 = 4       # product of all gains in front of the next stage's quantiser 0 …
    GAIN1 = 8
    GAIN2 = 16


@dataclasses.dataclass(frozen=True)
class Scalar:
    """`mantissa * 2**exponent`, mantissa of 16 bits."""

    mantissa: int = 0
    exponent: int = 0


HEADER_FIELDS = (
    # name, bits, signed: little-endian, packed without gaps; the rest of the unit is zero.
    ("magic", 8, False),
    ("op", 8, False),
    ("banks", 8, False),
    ("fraction0", 8, False),        # fraction bits of i (MLGRU) or a (GLU), and of h
    ("columns", 16, False),         # K, elements of the input vector
    ("rows", 16, False),            # N, elements of the output vector
    ("state_base", 32, False),      # first element of the layer's state
    ("units", 32, False),           # length of the section in units, header included, row excluded
    ("scale0_mantissa", 16, False),
    ("scale0_exponent", 16, True),
    ("scale1_mantissa", 16, False),
    ("scale1_exponent", 16, True),
    ("scale2_mantissa", 16, False),
    ("scale2_exponent", 16, True),
    ("ratio_mantissa", 16, False),  # weight of S1 in the squared norm
    ("ratio_exponent", 16, True),
    ("floor_mantissa", 16, False),  # added to the squared norm
    ("floor_exponent", 16, True),
    ("blocks", 16, False),          # row groups of each projection, ceil(rows / 5)
    ("fraction1", 8, False),        # fraction bits of f (MLGRU)
)

_STRUCT = struct.Struct("<" + "".join(
    {8: "B", 16: "H", 32: "I"}[bits].lower() if signed else {8: "B", 16: "H", 32: "I"}[bits]
    for _, bits, signed in HEADER_FIELDS))


def units_of(count: int) -> int:
    """Units that `count` bytes take with their padding."""
    return padded(count) // UNIT


def blocks(rows: int) -> int:
    """Row groups of five that `rows` rows need."""
    return -(-rows // 5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a section begins with.

    Parameters
    ----------
    op : Op
        What the stage does.
    banks : Bank
        Which gain banks follow.
    columns, rows : int
        Length of the input and the output vector.
    state_base : int
        Address of the layer's recurrent state, in elements (MLGRU only).
    scales : tuple of Scalar
        Per projection, the constant part of the dequantiser's multiplier.
    ratio, floor : Scalar
        The squared norm is `S2 + ratio * S1 + floor`; both belong to the input vector.
    fractions : tuple of int
        Fraction bits of the operands of the sigmoids.
    """

    op: Op
    banks: Bank = Bank(0)
    columns: int = 0
    rows: int = 0
    state_base: int = 0
    scales: tuple[Scalar, ...] = ()
    ratio: Scalar = Scalar()
    floor: Scalar = Scalar()
    fractions: tuple[int, int] = (0, 0)

    @property
    def bank_bytes(self) -> int:
        """Bytes of the gain banks."""
        return self.banks.value.bit_count() * padded(2 * self.rows)

    @property
    def group_bytes(self) -> int:
        """Bytes of a row group: one per column, padded."""
        return padded(self.columns)

    @property
    def body_bytes(self) -> int:
        """Bytes of packed trits; none for the embedding stage, whose row the source splices in."""
        if self.op is Op.EMBED:
            return 0
        return blocks(self.rows) * self.op.projections * self.group_bytes

    @property
    def units(self) -> int:
        """Length of the section."""
        return (HEADER_BYTES + self.bank_bytes + self.body_bytes) // UNIT

    def to_bytes(self, *, units: int | None = None, row_blocks: int | None = None) -> bytes:
        """Return the header as the hardware reads it, padded.

        `units` and `row_blocks` are those of a build that the section is laid out for, else those
        of an image.
        """
        scales = (*self.scales, *(Scalar() for _ in range(3 - len(self.scales))))
        flat = [number for scalar in (*scales, self.ratio, self.floor)
                for number in (scalar.mantissa, scalar.exponent)]
        return _STRUCT.pack(
            MAGIC, self.op, self.banks.value, self.fractions[0], self.columns, self.rows,
            self.state_base, self.units if units is None else units, *flat,
            blocks(self.rows) if row_blocks is None else row_blocks,
            self.fractions[1]).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Header":
        """Inverse of `to_bytes`.

        Raises
        ------
        BadInput
            If this is no header.
        """
        if len(data) < HEADER_BYTES:
            raise BadInput(f"The tape ends inside a header: {len(data)} of {HEADER_BYTES} bytes "
                           "are there.")
        (magic, op, banks, fraction0, columns, rows, state_base, units, *flat, _,
         fraction1) = _STRUCT.unpack_from(data)
        if magic != MAGIC or op not in Op.__members__.values():
            raise BadInput(f"The tape has 0x{magic:02x} {op} where a header should start.")
        scalars = [Scalar(*pair) for pair in zip(flat[0::2], flat[1::2], strict=True)]
        header = cls(op=Op(op), banks=Bank(banks), columns=columns, rows=rows,
                     state_base=state_base, scales=tuple(scalars[:Op(op).projections]),
                     ratio=scalars[3], floor=scalars[4], fractions=(fraction0, fraction1))
        if header.units != units:
            raise BadInput(f"The header has {units} units, its dimensions make {header.units}.")
        return header
