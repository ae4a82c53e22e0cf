"""What a conversation is on a device, as an object and as bytes.

`docs/python.md` documents the bytes.
"""

import dataclasses
import struct
import zlib

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS

__all__ = ["FLOATS", "INTEGERS", "State"]

INTEGERS, FLOATS = "integers", "floats"
"""Kinds of state: that of golden, GPUs and boards, and that of the float reference."""

_TYPES = {INTEGERS: np.dtype("<i4"), FLOATS: np.dtype("<f8")}
_KINDS = tuple(_TYPES)

_MAGIC = b"TRITSTAT"
_FORMAT = 1
# Magic, format, kind, model's digest, layers, hidden size, tokens, running digest.
_HEADER = struct.Struct("<8sHH32sIIQI")
_CHECKSUM = struct.Struct("<I")
_TOKEN = np.dtype("<u4")


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class State:
    """A conversation at rest: any engine of its kind, with its model, goes on from here.

    Parameters
    ----------
    model : str
        Digest of the model, 64 hexadecimal digits.
    kind : str
        `INTEGERS` or `FLOATS`.
    tokens : tuple of int
        All that the conversation has taken.
    digest : int or None
        Running digest behind them; None for floats.
    values : ndarray
        Recurrent state [layers, hidden]: int32 of 24 bits, or float64.
    """

    model: str
    kind: str
    tokens: tuple[int, ...]
    digest: int | None
    values: np.ndarray

    def __repr__(self):
        return (f"State(model={self.model[:16]}, kind={self.kind}, tokens={len(self.tokens)}, "
                f"digest={self.digest}, values={list(self.values.shape)})")

    def __eq__(self, other):
        return isinstance(other, State) and self.to_bytes() == other.to_bytes()

    def __hash__(self):
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return everything as bytes, which end with their checksum."""
        layers, hidden = self.values.shape
        data = _HEADER.pack(_MAGIC, _FORMAT, _KINDS.index(self.kind), bytes.fromhex(self.model),
                            layers, hidden, len(self.tokens), self.digest or 0)
        data += np.array(self.tokens, _TOKEN).tobytes()
        data += np.ascontiguousarray(self.values, _TYPES[self.kind]).tobytes()
        return data + _CHECKSUM.pack(zlib.crc32(data))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The state") -> "State":
        """Inverse of `to_bytes`.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` returned.
        name : str
            Where the data are from, for messages.

        Raises
        ------
        BadInput
            The data are no state, one of another format, or damaged.
        """
        data = bytes(data)
        if len(data) < _HEADER.size or data[:len(_MAGIC)] != _MAGIC:
            raise BadInput(f"{name} is no saved conversation: give what `State.to_bytes` returned.")
        _, form, kind, model, layers, hidden, count, digest = _HEADER.unpack_from(data)
        if form != _FORMAT or kind >= len(_KINDS):
            raise BadInput(f"{name} has format {form} and kind {kind}, this program reads format "
                           f"{_FORMAT} and kinds below {len(_KINDS)}: save it again.")
        kind = _KINDS[kind]
        middle = _HEADER.size + count * _TOKEN.itemsize
        end = middle + layers * hidden * _TYPES[kind].itemsize
        if len(data) != end + _CHECKSUM.size:
            raise BadInput(f"{name} has {len(data)} bytes instead of {end + _CHECKSUM.size}: it "
                           "was cut short or extended; copy or save it again.")
        (checksum,) = _CHECKSUM.unpack_from(data, end)
        if zlib.crc32(data[:end]) != checksum:
            raise BadInput(f"{name} is damaged (CRC {zlib.crc32(data[:end]):08x}, not "
                           f"{checksum:08x}): copy or save it again.")
        values = np.frombuffer(data[middle:end], _TYPES[kind]).reshape(layers, hidden)
        return cls(model=model.hex(), kind=kind,
                   tokens=tuple(np.frombuffer(data[_HEADER.size:middle], _TOKEN).tolist()),
                   digest=digest if kind == INTEGERS else None, values=values)

    def check(self, *, model: str, kind: str, shape: tuple[int, int], vocab: int,
              device: str) -> None:
        """Raise `BadInput` unless `device` can go on from here.

        Parameters
        ----------
        model, kind, shape, vocab
            Digest of its model, its kind of state, [layers, hidden], and tokens of the model.
        device : str
            Its name, for messages.
        """
        if self.kind != kind:
            raise BadInput(f"The state holds {self.kind}, and {device} computes in {kind}: give "
                           "one that was saved on a device like it.")
        if self.model != model:
            raise BadInput(f"The state belongs to model {self.model[:16]}, and {device} has "
                           f"{model[:16]}: open the model that it was saved with.")
        if self.values.shape != shape or self.values.dtype != _TYPES[kind]:
            raise BadInput(f"The state has shape {list(self.values.shape)} and type "
                           f"{self.values.dtype}, and {device} needs {_TYPES[kind]} of shape "
                           f"{list(shape)}: it is damaged.")
        if not self._in_range():
            raise BadInput(f"The state holds numbers outside the range of its {kind}: it is "
                           "damaged.")
        if not all(0 <= token < vocab for token in self.tokens):
            raise BadInput(f"The state names tokens outside 0 to {vocab - 1}: it is damaged.")
        if (self.digest is None) != (kind == FLOATS):
            raise BadInput(f"The state has the digest {self.digest}, which a state of {kind} "
                           "cannot have: it is damaged.")

    def _in_range(self) -> bool:
        if self.kind == FLOATS:
            return bool(np.isfinite(self.values).all())
        low, high = FORMATS.state_range
        return not self.values.size or bool(low <= self.values.min()
                                            and self.values.max() <= high)
