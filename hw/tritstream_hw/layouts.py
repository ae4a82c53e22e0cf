"""Layouts in gateware of the tables that host and gateware share."""

from amaranth import *
from amaranth.lib import data

from tritstream.link.table import Table

__all__ = ["table_layout"]

_SHAPES = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i32": signed(32), "8 bytes": 64}


def table_layout(table: type[Table]) -> data.StructLayout:
    """Return the layout of a table: its fields in order, the first byte in the lowest bits."""
    return data.StructLayout({name: _SHAPES[kind] for name, kind in table.kinds().items()})
