"""What a conversation is on a device, as an object and as bytes.

`docs/python.md` documents the bytes.
"""

import dataclasses
import struct
import zlib

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS

__all__ = ["FLOATS", "INTEGERS", "State", "digest_text"]

INTEGERS, FLOATS = "integers", "floats"
"""Kinds of state: that of golden, GPUs and boards, and that of the float reference."""

_TYPES = {INTEGERS: np.dtype("<i4"), FLOATS: np.dtype("<f8")}
_KINDS = tuple(_TYPES)

_MAGIC = b"TRITSTAT"
_FORMAT = 2
# Magic, format, kind, model's digest, layers, hidden size, tokens taken, pending, running digest.
_HEADER = struct.Struct("<8sHH32sIIIII")
_CHECKSUM = struct.Struct("<I")
_TOKEN = np.dtype("<u4")
_HEAD = 1 << 31             # of a token: the head was played behind it


def digest_text(digest: int | None) -> str | None:
    """Write a digest as eight hexadecimal digits; None as it is."""
    return None if digest is None else f"{digest:08x}"


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
    heads : bytes
        For each of them 1 if the head was played behind it, else 0: whoever takes the tokens again
        as they were taken comes to the same digest.
    digest : int or None
        Running digest behind them; None for floats.
    values : ndarray
        Recurrent state [layers, hidden]: int32 of 24 bits, or float64.
    pending : tuple of int
        Tokens of its text that it has not taken, as the last one that was made: whoever goes on
        begins with them.
    """

    model: str
    kind: str
    tokens: tuple[int, ...]
    heads: bytes
    digest: int | None
    values: np.ndarray
    pending: tuple[int, ...] = ()

    @classmethod
    def beginning(cls, model: str, kind: str, shape: tuple[int, int]) -> "State":
        """Return the state before the first token, see `check`."""
        return cls(model=model, kind=kind, tokens=(), heads=b"",
                   digest=0 if kind == INTEGERS else None, values=np.zeros(shape, _TYPES[kind]))

    @property
    def text(self) -> tuple[int, ...]:
        """All tokens of its text."""
        return self.tokens + self.pending

    def __repr__(self):
        return (f"State(model={self.model[:16]}, kind={self.kind}, tokens={len(self.tokens)}, "
                f"pending={len(self.pending)}, digest={self.digest}, "
                f"values={list(self.values.shape)})")

    def __eq__(self, other):
        return isinstance(other, State) and self.to_bytes() == other.to_bytes()

    def __hash__(self):
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return everything as bytes, which end with their checksum."""
        layers, hidden = self.values.shape
        data = _HEADER.pack(_MAGIC, _FORMAT, _KINDS.index(self.kind), bytes.fromhex(self.model),
                            layers, hidden, len(self.tokens), len(self.pending),
                            self.digest or 0)
        text = np.array(self.text, _TOKEN)
        text[:len(self.tokens)] |= _HEAD * np.frombuffer(self.heads, np.uint8).astype(_TOKEN)
        data += text.tobytes()
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
        _, form, kind, model, layers, hidden, count, pending, digest = _HEADER.unpack_from(data)
        if form != _FORMAT or kind >= len(_KINDS):
            raise BadInput(f"{name} has format {form} and kind {kind}, this program reads format "
                           f"{_FORMAT} and kinds below {len(_KINDS)}: save it again.")
        kind = _KINDS[kind]
        middle = _HEADER.size + (count + pending) * _TOKEN.itemsize
        end = middle + layers * hidden * _TYPES[kind].itemsize
        if len(data) != end + _CHECKSUM.size:
            raise BadInput(f"{name} has {len(data)} bytes instead of {end + _CHECKSUM.size}: it "
                           "was cut short or extended; copy or save it again.")
        (checksum,) = _CHECKSUM.unpack_from(data, end)
        if zlib.crc32(data[:end]) != checksum:
            raise BadInput(f"{name} is damaged (CRC {zlib.crc32(data[:end]):08x}, not "
                           f"{checksum:08x}): copy or save it again.")
        values = np.frombuffer(data[middle:end], _TYPES[kind]).reshape(layers, hidden)
        text = np.frombuffer(data[_HEADER.size:middle], _TOKEN)
        tokens = tuple((text & (_HEAD - 1)).tolist())
        return cls(model=model.hex(), kind=kind, tokens=tokens[:count],
                   heads=(text[:count] >= _HEAD).tobytes(),
                   digest=digest if kind == INTEGERS else None, values=values,
                   pending=tokens[count:])

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
        if len(self.heads) != len(self.tokens):
            raise BadInput(f"The state says of {len(self.heads)} tokens whether their heads were "
                           f"played, and has {len(self.tokens)}: it is damaged.")
        if not all(0 <= token < vocab for token in self.text):
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
