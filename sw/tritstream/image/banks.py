"""The gain banks of a section, as numbers."""

import dataclasses

import numpy as np

from tritstream.image.image import Section
from tritstream.image.tape import Bank

__all__ = ["Banks"]


@dataclasses.dataclass(frozen=True)
class Banks:
    """Gain banks of a section: what the statistics of its output are made with."""

    keep: np.ndarray | None = None
    pre: np.ndarray | None = None
    gains: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, section: Section, payload: np.ndarray) -> "Banks":
        """Read the banks of a section from the payload."""
        header, found = section.header, {}
        position, step = section.banks_start, header.bank_bytes // max(
            header.banks.value.bit_count(), 1)
        for bank in Bank:
            if bank in header.banks:
                kind = "<u2" if bank is Bank.KEEP else "<i2"
                data = payload[position:position + 2 * header.rows]
                found[bank] = data.view(kind).astype(np.int64)
                position += step
        gains = [found[b] for b in (Bank.GAIN0, Bank.GAIN1, Bank.GAIN2) if b in found]
        return cls(found.get(Bank.KEEP), found.get(Bank.PRE), tuple(gains))
