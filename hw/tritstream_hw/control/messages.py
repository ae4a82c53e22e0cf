"""Layouts of the messages, see `docs/link.md`."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.link import messages
from tritstream.link.messages import OF_MEMORY, Configuration
from tritstream.link.protocol import Code, RunFlag
from tritstream_hw.layouts import table_layout

__all__ = ["ARGUMENTS", "ARGUMENT_BYTES", "CONFIGURATION", "command_members", "has",
           "known_codes"]

CONFIGURATION = table_layout(Configuration)

ARGUMENTS = {
    code: data.StructLayout({"nothing": 1}) if table is None else table_layout(table)
    for code, table in messages.ARGUMENTS.items()}
"""Arguments of each command, in the order of their bytes; a port must have some width."""

ARGUMENT_BYTES = {
    code: 0 if table is None else table.SIZE for code, table in messages.ARGUMENTS.items()}
"""How many bytes follow the code of each command."""


def known_codes(memory_units: int) -> list[Code]:
    """Return the commands of a build, with or without a memory."""
    return [code for code in ARGUMENTS if memory_units or code not in OF_MEMORY]


def has(flags, flag: RunFlag) -> Value:
    """Whether `flags` of RUN has a flag."""
    return flags[exact_log2(flag)]


def command_members(*codes: Code) -> dict[str, wiring.Member]:
    """Return the members that every component carrying out commands has.

    Each command comes on `command`, or on a stream of its own name if there are several; its offer
    stands while it is carried out, and is taken at the end. The bytes of the reply go to `reply`.
    """
    members = {"reply": Out(stream.Signature(8))}
    for code in codes:
        name = "command" if len(codes) == 1 else code.name.lower()
        members[name] = In(stream.Signature(ARGUMENTS[code]))
    return members
