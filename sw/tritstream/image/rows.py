"""The embedding rows of an image, as numbers."""

import numpy as np

from tritstream.formats import UNIT
from tritstream.image.image import Image
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES

__all__ = ["read_rows"]


def read_rows(image: Image, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding rows as `(q [n, H], mantissa [n, 1], shift [n, 1])`, int64."""
    size = image.row_units * UNIT
    table = image.payload[:image.vocab * size].reshape(-1, size)[tokens]
    size = WIDE_BYTES if image.payload[ROW_PREFIX - 1] else 1       # of all rows alike
    parts = table[:, ROW_PREFIX:ROW_PREFIX + image.hidden * size]
    parts = parts.reshape(len(table), -1, size).astype(np.int64)
    q = sum(part << 8 * n for n, part in enumerate(np.moveaxis(parts, -1, 0)))
    q -= (q >> 8 * size - 1) << 8 * size
    mantissa = np.ascontiguousarray(table[:, 0:2]).view("<u2").astype(np.int64)
    return q, mantissa, table[:, 2:3].astype(np.int64)
