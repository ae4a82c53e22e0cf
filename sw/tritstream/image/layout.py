"""An image as the memories of a build hold it: padded to its beats, row groups in stripes."""

import functools

import numpy as np

from tritstream.formats import HEADER_BYTES, UNIT
from tritstream.stripes import Stripes

__all__ = ["Layout", "lay_out"]


def lay_out(image, stripes: Stripes):
    """Return an image as a build plays it: itself, where its file is laid out like that.

    The latest are kept: who fills a memory, and who plays from it, have the same one.

    Parameters
    ----------
    image : Image
        The model.
    stripes : Stripes
        Of the build.

    Returns
    -------
    Image or Layout
    """
    return image if stripes.are_plain else _layout(image, stripes)


@functools.lru_cache(maxsize=2)
def _layout(image, stripes: Stripes) -> "Layout":
    return Layout(image, stripes)


class Layout:
    """What a build of wide beats, or with several memories, has in them for an image.

    It has the names that an `Image` has for what is told to a device, in units of that build.

    Parameters
    ----------
    image : Image
        The model.
    stripes : Stripes
        Of the build.
    """

    def __init__(self, image, stripes: Stripes):
        self._image, self._stripes = image, stripes
        self._ends = np.cumsum([stripes.section_units(section.header)
                                for section in image.sections]).tolist()

    @functools.cached_property
    def payload(self) -> np.ndarray:
        """Content of the memories, uint8, stripe by stripe from the first on."""
        image, size = self._image, self._image.row_units * UNIT
        rows = image.payload[:image.vocab * size].reshape(image.vocab, size)
        parts = [self._flat(rows)]
        for section in image.sections:
            parts += self._section(section)
        return np.concatenate([part.reshape(-1) for part in parts])

    @property
    def rows_unit(self) -> int:
        """First unit of the embedding rows."""
        return 0

    @property
    def row_units(self) -> int:
        """Units of an embedding row."""
        return self._stripes.flat_units(self._image.row_units * UNIT)

    @property
    def tape_unit(self) -> int:
        """First unit of the tape."""
        return self._image.vocab * self.row_units

    @property
    def tape_units(self) -> int:
        """Units of the tape."""
        return self._ends[-1]

    @property
    def lead_units(self) -> int:
        """Units of the tape in front of the embedding row."""
        return self._ends[0]

    @property
    def body_units(self) -> int:
        """Units of the tape up to the head."""
        return self.units_before(self._image.body_stages)

    def units_before(self, stages: int) -> int:
        """Units of the tape's first `stages` stages."""
        return self._ends[stages - 1]

    def row(self, token: int) -> bytes:
        """Embedding row of a token, as on the tape."""
        return self._units(token * self.row_units, self.row_units).tobytes()

    def tape(self, units: int | None = None) -> np.ndarray:
        """First `units` units of the tape, uint8."""
        return self._units(self.tape_unit, self.tape_units if units is None else units)

    def _units(self, first: int, count: int) -> np.ndarray:
        size = self._stripes.unit_bytes
        return self.payload[first * size:(first + count) * size]

    def _section(self, section) -> list[np.ndarray]:
        """Header, banks and trits of a section."""
        header, stripes, payload = section.header, self._stripes, self._image.payload
        head = header.to_bytes(units=stripes.section_units(header),
                               row_blocks=stripes.blocks(header.rows))
        count = header.banks.value.bit_count()
        banks = payload[section.start + HEADER_BYTES:section.body_start]
        parts = [self._flat(np.frombuffer(head, np.uint8)[None])]
        if count:
            parts.append(self._flat(banks.reshape(count, -1)))
        if header.body_bytes:
            parts.append(self._striped(header, payload[section.body_start:section.end]))
        return parts

    def _flat(self, parts: np.ndarray) -> np.ndarray:
        """Lay out parts of the same size, uint8 [n, bytes], each in units of its own."""
        stripes, count = self._stripes, len(parts)
        units = stripes.flat_units(parts.shape[1])
        laid = np.zeros((count, units * stripes.unit_stripes * stripes.flat_bytes), np.uint8)
        laid[:, :parts.shape[1]] = parts
        whole = np.zeros((count, units * stripes.unit_stripes, stripes.stripe_bytes), np.uint8)
        whole[:, :, :stripes.flat_bytes] = laid.reshape(count, -1, stripes.flat_bytes)
        return whole

    def _striped(self, header, body: np.ndarray) -> np.ndarray:
        """Lay out trits: neighbouring blocks of five rows lie in neighbouring memories."""
        stripes, projections = self._stripes, header.op.projections
        groups = body.reshape(-1, projections, header.group_bytes)
        beats, blocks = stripes.group_stripes(header.columns), stripes.blocks(header.rows)
        laid = np.zeros((blocks * stripes.groups, projections, beats * stripes.beat_bytes),
                        np.uint8)
        laid[:len(groups), :, :header.group_bytes] = groups
        laid = laid.reshape(blocks, stripes.groups, projections, beats, stripes.beat_bytes)
        return np.ascontiguousarray(laid.transpose(0, 2, 3, 1, 4))
