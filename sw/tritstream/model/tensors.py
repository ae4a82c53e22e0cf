"""Tensors of a safetensors file, read one at a time.

The format's own library has no bfloat16 for NumPy, and maps the whole file, all of which counts as
resident once it has been touched. Here only the tensor asked for is ever in memory.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tritstream.errors import BadInput
from tritstream.support.inputs import check_input

__all__ = ["DTYPES", "TensorEntry", "TensorFile", "decode", "encode", "write_tensors"]

DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""Types that are read, and how their elements lie in the file."""

HEADER_LIMIT = 100_000_000      # the format's own limit; a larger length means a corrupt file
MOST_AXES = 8                   # of a tensor


def decode(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Return elements stored as `dtype` as float32, exactly."""
    if dtype == "BF16":         # the upper half of a float32
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """Inverse of `decode`, rounded half to even where `dtype` is narrower."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return values.astype(DTYPES[dtype])


@dataclasses.dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies.

    Parameters
    ----------
    dtype : str
        Name of the element type as the file has it, not necessarily one of `DTYPES`.
    shape : tuple of int
        Dimensions, the slowest first.
    start, stop : int
        Bytes of the file that it covers.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def bytes(self) -> int:
        """Bytes that the tensor should cover; what it does cover if the type is not read."""
        if self.dtype not in DTYPES:
            return self.stop - self.start
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def _entry(item: dict, base: int) -> TensorEntry:
    """Return the entry of one tensor of a header; `base` is the byte after the header."""
    start, stop = item["data_offsets"]
    entry = TensorEntry(item["dtype"], tuple(item["shape"]), base + start, base + stop)
    numbers = (*entry.shape, start, stop)
    if (not isinstance(entry.dtype, str) or len(entry.shape) > MOST_AXES
            or not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)):
        raise ValueError(f"bad entry {item!r}")
    return entry


class TensorFile:
    """One safetensors file whose header has been read and checked against the file's size.

    Parameters
    ----------
    path : Path
        The file. It is opened again for every read, and never mapped.

    Attributes
    ----------
    entries : dict of str to TensorEntry
        All tensors by name.

    Raises
    ------
    BadInput
        The file is absent, truncated, or its header is corrupt.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            size = check_input(self.path)
            with open(self.path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or length > min(HEADER_LIMIT, size - 8):
                    raise self._bad(f"its header should be {length} bytes in a file of {size}")
                header = file.read(length)
        except PermissionError as error:
            raise BadInput(f"{self.path} cannot be read: {error.strerror}; make it readable."
                           ) from error
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from error
        self.entries = self._parse(header, 8 + length, size)

    def _bad(self, reason: str) -> BadInput:
        return BadInput(f"{self.path} is not a readable safetensors file: {reason}; "
                        "fetch it again.")

    def _parse(self, header: bytes, base: int, size: int) -> dict[str, TensorEntry]:
        try:
            table = json.loads(header)
            table.pop("__metadata__", None)
            entries = {name: _entry(item, base) for name, item in table.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._bad("its header is corrupt") from error
        end = base
        for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
            if entry.start != end:
                raise self._bad(f"tensor {name} starts at byte {entry.start}, not at {end}")
            length = entry.stop - entry.start
            if length != entry.bytes:
                raise self._bad(f"tensor {name} covers {length} bytes, not {entry.bytes}")
            end = entry.stop
        if end != size:
            state = "truncated" if size < end else "longer than its header says"
            raise self._bad(f"it is {state}, {size} bytes where {end} are expected")
        return entries

    def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows `start` to `stop` (along the first axis) of a tensor as float32.

        Raises
        ------
        BadInput
            The file cannot be read any more, or a value is NaN or infinite.
        """
        entry = self.entries[name]
        dtype = DTYPES[entry.dtype]
        rows = slice(start, stop).indices(entry.shape[0])
        count = max(0, rows[1] - rows[0])
        width = math.prod(entry.shape[1:])
        try:
            stored = np.fromfile(self.path, dtype, count * width,
                                 offset=entry.start + rows[0] * width * dtype.itemsize)
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from error
        if stored.size != count * width:
            raise self._bad(f"it ended within tensor {name}")
        values = decode(stored, entry.dtype)
        if not np.isfinite(values).all():
            first = rows[0] * width + int(np.argmin(np.isfinite(values)))
            raise BadInput(f"Tensor {name} in {self.path} holds NaN or infinity, first at element "
                           f"{first}; such a checkpoint cannot be used, take another one.")
        return values.reshape(count, *entry.shape[1:])


def write_tensors(path: Path, dtype: str, shapes: Mapping[str, tuple[int, ...]],
                  tensors: Iterable[np.ndarray]):
    """Write a safetensors file, one tensor in memory at a time.

    Parameters
    ----------
    path : Path
        File to make.
    dtype : str
        One of `DTYPES`, the same for all tensors.
    shapes : mapping of str to tuple of int
        Names and shapes in the order of `tensors`.
    tensors : iterable of ndarray
        The values, produced as they are written.
    """
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)     # the format aligns the data to 8 bytes
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in tensors:
            file.write(np.ascontiguousarray(encode(values, dtype)).data)
