"""Ports between the control and the accelerator."""

import types

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.memory.port import played_layout

__all__ = [
    "BEST",
    "DONE",
    "START",
    "AcceleratorSignature",
    "ControlledSignature",
    "DebugSignature",
    "PassSignature",
    "part",
]

START = data.StructLayout({"fresh": 1, "logits": 1, "stages": 16})
"""Begin of a pass."""

DONE = data.StructLayout({"status": 8, "head": 1})
"""End of a pass: a status of `docs/link.md`, and whether the head was played."""

BEST = data.StructLayout({"token": 32, "acc": signed(32), "valid": 1})
"""One of the best logits, if there are that many."""


class DebugSignature(wiring.Signature):
    """Port into the memories of an idle accelerator, as its user has it.

    Members
    -------
    space, address : :py:`Out(2)`, :py:`Out(32)`
        Which word; stable from `read` to `data_valid`.
    read, write : :py:`Out(1)`
        Strobes.
    write_data : :py:`Out(32)`
        Word to be written.
    data, data_valid : :py:`In(signed(32))`, :py:`In(1)`
        Word read, and its strobe.
    """

    def __init__(self):
        super().__init__({
            "space": Out(2),
            "address": Out(32),
            "read": Out(1),
            "write": Out(1),
            "write_data": Out(32),
            "data": In(signed(32)),
            "data_valid": In(1),
        })


class PassSignature(wiring.Signature):
    """What a pass needs of an accelerator, as its user has it.

    Members
    -------
    start, done : :py:`Out(stream.Signature(START))`, :py:`In(stream.Signature(DONE))`
        Begin and end of a pass. Behind a status other than 0, the accelerator has to be reset.
    logits : :py:`In(stream.Signature(signed(32)))`
        Every logit, if the pass was started so; all are taken before `done` is offered.
    candidate, best : :py:`Out(8)`, :py:`In(BEST)`
        Which of the best logits is wanted; it is there at most two cycles later.
    scale : :py:`In(SCALE)`
        Of the logits, from `done` on.
    digest : :py:`In(32)`
        Running CRC-32 of all stage vectors.
    cycles, stalls : :py:`In(64)`
        Of the latest pass.
    """

    def __init__(self):
        super().__init__({
            "start": Out(stream.Signature(START)),
            "done": In(stream.Signature(DONE)),
            "logits": In(stream.Signature(signed(32))),
            "candidate": Out(8),
            "best": In(BEST),
            "scale": In(SCALE),
            "digest": In(32),
            "cycles": In(64),
            "stalls": In(64),
        })


class ControlledSignature(wiring.Signature):
    """What the control needs of an accelerator: all of its ports but the beats.

    Members
    -------
    start, done, ...
        See :class:`PassSignature`.
    clear_digest : :py:`Out(1)`
        Strobe that restarts the digest.
    beats_taken : :py:`In(64)`
        Since reset.
    memory : :py:`Out(DebugSignature())`
        Debug port.
    """

    def __init__(self):
        super().__init__({
            **PassSignature().members,
            "clear_digest": Out(1),
            "beats_taken": In(64),
            "memory": Out(DebugSignature()),
        })


class AcceleratorSignature(wiring.Signature):
    """All ports of an accelerator, as its user has them.

    Members
    -------
    start, done, ...
        See :class:`ControlledSignature`.
    beats : :py:`Out(stream.Signature(played_layout(P)))`
        What the passes play. A pass that ends before its last beat, or that needs more than it has,
        ends with status `BAD_TAPE`.
    """

    def __init__(self, config: BuildConfig):
        super().__init__({
            **ControlledSignature().members,
            "beats": Out(stream.Signature(played_layout(config.beat_bytes))),
        })


def part(interface, wanted: wiring.Signature):
    """Return those ports of an interface that `wanted` names, to be connected alone."""
    members = {name: interface.signature.members[name] for name in wanted.members}
    return types.SimpleNamespace(
        signature=wiring.Signature(members), **{name: getattr(interface, name) for name in members})
