"""Port of the memory that holds an image."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.stripes import Stripes

__all__ = ["MOST_BEATS", "MemorySignature", "beat_layout", "beats_per_unit", "command_layout",
           "played_layout"]

MOST_BEATS = 256
"""Beats of a read at most: long enough for a DRAM, short enough to be drained after a RESET."""


def beat_layout(beat_bytes: int) -> data.ArrayLayout:
    """Layout of one beat, bytes in the order of their addresses; of a stripe, all beats of it."""
    return data.ArrayLayout(8, beat_bytes)


def beats_per_unit(beat_bytes: int) -> int:
    """How many beats a unit is, a power of two."""
    return Stripes(beat_bytes).unit_stripes


def played_layout(beat_bytes: int) -> data.StructLayout:
    """Layout of a beat on its way to the accelerator: `last` ends a pass."""
    return data.StructLayout({"data": beat_layout(beat_bytes), "last": 1})


def command_layout(beat_bytes: int) -> data.StructLayout:
    """Layout of a command: `beats` beats from `beat` on are read, or one, `data`, is written.

    The data of a read mean nothing.
    """
    return data.StructLayout({
        "write": 1,
        "beat": 32,
        "beats": range(MOST_BEATS + 1),
        "data": beat_layout(beat_bytes),
    })


class MemorySignature(wiring.Signature):
    """Port of a memory, as its user has it.

    Commands are carried out in the order in which they are taken, so that a read sees every write
    before it and none behind it. A write carries its one beat with it: nothing more has to come
    when its maker is reset. A read asks for 1 to `MOST_BEATS` beats, whose first comes at least a
    cycle after the command has been taken. Any number of reads may be under way; the memory says
    by `ready` how many it bears.

    Parameters
    ----------
    beat_bytes : int
        `P`.

    Members
    -------
    command : :py:`Out(stream.Signature(command_layout(P)))`
        Reads and writes.
    data : :py:`In(stream.Signature(beat_layout(P)))`
        Beats of all reads, in order.
    """

    def __init__(self, beat_bytes: int):
        super().__init__({
            "command": Out(stream.Signature(command_layout(beat_bytes))),
            "data": In(stream.Signature(beat_layout(beat_bytes))),
        })
