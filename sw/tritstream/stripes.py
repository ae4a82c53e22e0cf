"""How a build reads a tape: stripes of a beat from each of its memories, and units of these."""

import dataclasses

from tritstream.formats import ALIGNMENT, FORMATS, UNIT, padded

__all__ = ["PLAIN", "Stripes"]


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Where the parts of a tape lie in the memories of a build, in numbers.

    All memories deliver a beat in the same cycle: these are a *stripe*. Trits fill it, a beat of
    each memory for a row group of its own, all of the same columns. Headers, gains and embedding
    rows are *flat*: they follow each other over the first memories, as many as a power of two. Each
    part has whole units, which is how commands and headers count. An image file is the tape of
    every build with one memory and beats of up to `UNIT` bytes.

    Parameters
    ----------
    beat_bytes : int
        `P`, bytes of a beat of one memory.
    groups : int
        `G`, row groups side by side, with a memory each.
    """

    beat_bytes: int
    groups: int = 1

    @property
    def stripe_bytes(self) -> int:
        """Bytes that all memories deliver in a cycle."""
        return self.beat_bytes * self.groups

    @property
    def flat_bytes(self) -> int:
        """Bytes of a stripe that what is flat fills: the highest power of two in it."""
        return 1 << self.stripe_bytes.bit_length() - 1

    @property
    def unit_stripes(self) -> int:
        """Stripes of a unit, which holds a header."""
        return max(1, UNIT // self.flat_bytes)

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit, in all memories together."""
        return self.unit_stripes * self.stripe_bytes

    @property
    def are_plain(self) -> bool:
        """Whether an image file is laid out like this."""
        return self.groups == 1 and self.beat_bytes <= UNIT

    def padded_columns(self, count: int) -> int:
        """Activations of a row group of so many columns with its padding, whole beats."""
        return padded(count, max(ALIGNMENT, self.beat_bytes))

    def group_stripes(self, columns: int) -> int:
        """Stripes of a row group, in each memory one."""
        return self.padded_columns(columns) // self.beat_bytes

    def flat_units(self, size: int) -> int:
        """Units of `size` bytes of what is flat."""
        return -(-size // (self.unit_stripes * self.flat_bytes))

    def blocks(self, rows: int) -> int:
        """Blocks of five rows that each memory has of a matrix."""
        return -(-rows // (FORMATS.trits_per_byte * self.groups))

    def bank_units(self, header) -> int:
        """Units of the gain banks of a `Header`."""
        return (header.banks.value.bit_count()
                * self.flat_units(FORMATS.gain_bits // 8 * header.rows))

    def body_units(self, header) -> int:
        """Units of the trits of a section; none for the embedding stage."""
        if not header.op.vectors:
            return 0
        return (self.blocks(header.rows) * header.op.projections
                * self.group_stripes(header.columns) // self.unit_stripes)

    def section_units(self, header) -> int:
        """Units of a section, those of header, banks and trits."""
        return 1 + self.bank_units(header) + self.body_units(header)


PLAIN = Stripes(UNIT)
"""Of a build for which an image is played as it is."""
