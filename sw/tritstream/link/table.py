"""A message as the table of its fields: read by the host, the gateware and the page about them."""

import dataclasses
import struct
from typing import ClassVar, Self, dataclass_transform

__all__ = ["Table", "field", "table"]

_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "8 bytes": "8s"}


def field(kind: str, meaning: str, **options):
    """Return a field of a `Table`.

    Parameters
    ----------
    kind : str
        ``u8``, ``u16``, ``u32``, ``u64``, ``i32`` or ``8 bytes``.
    meaning : str
        What `docs/link.md` says about it.
    **options
        Of `dataclasses.field`.
    """
    return dataclasses.field(metadata={"kind": kind, "meaning": meaning}, **options)


class Table:
    """Base of frozen dataclasses whose fields, made by :func:`field`, are those of a message.

    The fields follow one another as they are written down: little-endian, without gaps.
    """

    SIZE: ClassVar[int]
    """Bytes of the message."""

    STRUCT: ClassVar[struct.Struct]

    @classmethod
    def kinds(cls) -> dict[str, str]:
        """Return the kind of each field."""
        return {entry.name: entry.metadata["kind"] for entry in dataclasses.fields(cls)}

    @classmethod
    def rows(cls) -> list[tuple[str, str, str]]:
        """Return name, kind and meaning of each field."""
        return [(entry.name.replace("_", " "), entry.metadata["kind"], entry.metadata["meaning"])
                for entry in dataclasses.fields(cls)]

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return self.STRUCT.pack(*(getattr(self, name) for name in self.kinds()))

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Inverse of `pack`."""
        return cls(**dict(zip(cls.kinds(), cls.STRUCT.unpack(data), strict=True)))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def table(cls: type[Table]) -> type[Table]:
    """Make a class a frozen dataclass, and work out its size."""
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    cls.STRUCT = struct.Struct("<" + "".join(_CODES[kind] for kind in cls.kinds().values()))
    cls.SIZE = cls.STRUCT.size
    return cls
