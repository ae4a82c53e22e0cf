"""Layouts of the messages, see `docs/link.md`."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import Code

__all__ = ["ARGUMENTS", "CONFIGURATION", "ITEM", "command_members"]

CONFIGURATION = data.StructLayout({
    "rows_unit": 32,
    "tape_unit": 32,
    "lead_units": 16,
    "row_units": 16,
    "vocab": 32,
    "stop_token": 32,
})

EXTENT = data.StructLayout({"unit": 32, "units": 32})

ACCESS = data.StructLayout({"space": 8, "address": 32, "words": 32})

ARGUMENTS = {
    Code.IDENTIFY: data.StructLayout({"nothing": 1}),     # a port must have some width
    Code.WRITE: EXTENT,
    Code.DIGEST: EXTENT,
    Code.CONFIGURE: CONFIGURATION,
    Code.RUN: data.StructLayout({
        "flags": data.StructLayout({"fresh": 1, "streamed": 1, "logits": 1, "unused": 5}),
        "token": 32,
        "count": 16,
        "tape_units": 32,
        "stages": 16,
    }),
    Code.READ: ACCESS,
    Code.STORE: ACCESS,
}
"""Arguments of each command, in the order of their bytes."""

ITEM = data.StructLayout({"bytes": 4, "data": 64})
"""One to eight bytes of a reply, the first in the lowest bits."""


def command_members(*codes: Code) -> dict[str, wiring.Member]:
    """Return the members that every component carrying out commands has.

    Each command comes on `command`, or on a stream of its own name if there are several; its offer
    stands while it is carried out, and is taken at the end. Items of the reply go to `reply`.
    """
    members = {"reply": Out(stream.Signature(ITEM))}
    for code in codes:
        name = "command" if len(codes) == 1 else code.name.lower()
        members[name] = In(stream.Signature(ARGUMENTS[code]))
    return members
